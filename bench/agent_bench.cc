// agent-bench WHAT [ROUNDS]: what a notified call costs, in turns with the least that an agent can
// do (agent_loops.c). WHAT: roundtrip, throughput, designs, fairness. Exit status 0: within the
// bounds of docs/performance.md.
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/container.h"
#include "agent/handlers/handlers.h"
#include "agent/notify/area.h"
#include "agent/notify/listener.h"
#include "agent/notify/memory.h"
#include "agent/notify/metrics.h"
#include "base/linux_abi.h"
#include "bench/agent_group.h"
#include "bench/agent_loops.h"
#include "policy/document_json.h"

namespace landgate::bench {
namespace {

constexpr double kRoundTripBound = 1.25, kThroughputBound = 0.9, kFairnessBound = 1.5;
constexpr uint32_t kCallsPerRound = 1000;
// First arguments that tell the handler of fairness what to play.
constexpr long kQuestion = -1, kBlackhole = -2;

bool g_missed = false;

void Verdict(const char* what, double value, double bound, bool at_most) {
  const bool ok = at_most ? value <= bound : value >= bound;
  if (!ok) g_missed = true;
  printf("  %-44s %.2f  (bound %s %.2f)%s\n", what, value, at_most ? "<=" : ">=", bound,
         ok ? "" : "  MISSED");
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// --- our own listener as a variant

// Twenty rules, as bench/measure.py has them for the floor.
std::string TwentyRules() {
  std::string text = R"({"landgate": 1, "paths": [)";
  for (int i = 0; i < 17; ++i) {
    char rule[80];
    snprintf(rule, sizeof rule, R"({"allow": ["read", "execute"], "beneath": ["/data/%02d"]},)", i);
    text += rule;
  }
  return text + R"({"allow": ["read"], "beneath": ["/usr"]},)"
                R"({"deny": ["all"], "beneath": ["/data/01/private"]},)"
                R"({"deny": ["all"], "file": ["/data/02/secret"]}]})";
}

agent::ContainerPtr NewContainer() {
  Result<policy::Policy> policy = policy::DecodePolicy(TwentyRules(), "bench", "bench.json");
  if (!policy) {
    fprintf(stderr, "%s\n", policy.error().message.c_str());
    exit(1);
  }
  node::Registration registration;
  registration.id = "bench";
  registration.policies.push_back(std::move(*policy));
  return std::make_shared<agent::Container>(std::move(registration));
}

void Continue(agent::Call& call) {
  (void)std::move(call.notification).Let(agent::Continue::NothingMutable("bench"));
}

// Read → decide → act, as a handler of path calls does it.
void DecidePath(agent::Call& call) {
  if (!call.MaySlow()) {
    (void)std::move(call.notification).Deny(EAGAIN);
    return;
  }
  std::array<char, 4096> buffer;
  const auto path =
      agent::ReadString(static_cast<pid_t>(call.request.pid), call.request.data.args[1], buffer);
  if (!path) {
    (void)std::move(call.notification).Deny(agent::ErrnoOf(path.error()));
    return;
  }
  if (!call.notification.StillValid()) return;
  size_t policy = 0;
  const policy::Decision decision =
      policy::DecidePath(call.listener.container().path_rules, *path, abi::kFsReadFile, &policy);
  if (decision.verdict == policy::Verdict::kAllow) {
    (void)std::move(call.notification).Let(agent::Continue::FloorEnforces("bench"));
  } else {
    (void)std::move(call.notification).Deny(decision.error_number);
  }
}

// A question that nobody answers, and work that never comes back.
void Stall(agent::Call& call) {
  const auto argument = static_cast<long>(call.request.data.args[0]);
  if (argument == kQuestion) {
    static std::mutex mutex;
    static std::vector<agent::PendingNotification> questions;
    const std::lock_guard lock(mutex);
    questions.push_back(std::move(call.notification));
  } else if (argument == kBlackhole) {
    if (call.MaySlow()) (void)poll(nullptr, 0, -1);
  } else {
    DecidePath(call);
  }
}

// Of a listener that serves that container.
using MakeHandler =
    std::function<agent::Handler(const agent::Services&, const agent::ContainerPtr&)>;

// Audit mode's own handler, for a call that stands for an open of the path that it carries.
agent::Handler MakeAudit(const agent::Services& services, const agent::ContainerPtr& container) {
  return [audit = agent::MakeAuditHandler(services, container, {})](agent::Call& call) {
    call.listener.Advance(agent::Phase::kWorkload);
    struct seccomp_notif open = call.request;
    open.data.nr = SYS_openat;
    open.data.args[0] = static_cast<uint64_t>(AT_FDCWD);
    open.data.args[2] = O_RDONLY;
    agent::Call as_open{call.notification, open, call.listener};
    audit(as_open);
  };
}

class NoAudit : public agent::AuditSink {
 public:
  void Write(agent::AuditRecord) override {
    fprintf(stderr, "what is measured must be allowed\n");
    exit(1);
  }
};

void ServeOurs(const std::vector<int>& listeners, const MakeHandler& make) {
  Result<agent::Area> area = agent::Area::Create();
  if (!area) exit(1);
  agent::Metrics metrics;
  NoAudit no_audit;
  agent::Services services;
  services.area = &*area;
  services.metrics = &metrics;
  services.audit = &no_audit;
  const agent::ContainerPtr container = NewContainer();
  const agent::Handler handler = make(services, container);
  for (const int listener : listeners) {
    const std::optional<uint32_t> region = area->Allocate(area->NextKey());
    if (!region || !agent::Listener::Start(services, UniqueFd(listener), *region, container,
                                           handler, nullptr)) {
      fprintf(stderr, "a listener could not be started\n");
      exit(1);
    }
  }
  for (;;) pause();
}

Group::Server Loop(agent_loop loop) {
  return [loop](const std::vector<int>& listeners) {
    agent_loop_serve(loop, listeners.data(), listeners.size());
  };
}
Group::Server Ours(MakeHandler make) {
  return
      [make = std::move(make)](const std::vector<int>& listeners) { ServeOurs(listeners, make); };
}
Group::Server Ours(void (*handle)(agent::Call&)) {
  return Ours([handle](const agent::Services&, const agent::ContainerPtr&) { return handle; });
}

using Groups = std::vector<std::unique_ptr<Group>>;

void Add(Groups& groups, const char* name, size_t clients, bool path, const Group::Server& server) {
  groups.push_back(std::make_unique<Group>(name, clients, path, server));
}

// Medians of one client's calls, in turns; of `rounds` rounds per group the median again.
std::vector<double> RoundTrips(const Groups& groups, int rounds, uint32_t calls = kCallsPerRound) {
  std::vector<std::vector<double>> medians(groups.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < groups.size(); ++i) {
      // Another first one each round: whoever comes after a slow one is not always the same.
      const size_t at = (i + static_cast<size_t>(round)) % groups.size();
      Group& group = *groups[at];
      medians[at].push_back(group.Calls(static_cast<size_t>(round) % group.size(), calls).median);
    }
  }
  std::vector<double> result;
  for (std::vector<double>& values : medians) result.push_back(Median(std::move(values)));
  return result;
}

// --- what is measured

void RoundTrip(int rounds) {
  Groups groups;
  Add(groups, "C loop", 1, false, Loop(LOOP_THREADS));
  Add(groups, "landgate-agent", 1, false, Ours(Continue));
  Add(groups, "C loop that reads a path", 1, true, Loop(LOOP_PATH));
  Add(groups, "landgate-agent, decided on a path", 1, true, Ours(DecidePath));
  Add(groups, "landgate-agent, audit mode", 1, true, Ours(MakeAudit));
  for (const int cpu : {0, -1}) {
    for (const auto& group : groups) group->Pin(cpu);
    const std::vector<double> ns = RoundTrips(groups, rounds);
    printf("round trip, %s:\n", cpu == 0 ? "same CPU" : "free");
    for (size_t i = 0; i < groups.size(); ++i)
      printf("  %-44s %.2f us\n", groups[i]->name().c_str(), ns[i] / 1000);
    Verdict("without memory, of the C loop", ns[1] / ns[0], kRoundTripBound, true);
    Verdict("on a path, of the C loop that reads one", ns[3] / ns[2], kRoundTripBound, true);
    Verdict("audit mode, of the C loop that reads one", ns[4] / ns[2], kRoundTripBound, true);
  }
}

void ThroughputOf(size_t clients, int rounds) {
  Groups groups;
  Add(groups, "C loop, thread per listener", clients, false, Loop(LOOP_THREADS));
  Add(groups, "C loop, epoll", clients, false, Loop(LOOP_EPOLL));
  Add(groups, "landgate-agent", clients, false, Ours(Continue));
  Add(groups, "C loop that reads a path", clients, true, Loop(LOOP_PATH));
  Add(groups, "C loop that reads a path, epoll", clients, true, Loop(LOOP_EPOLL_PATH));
  Add(groups, "landgate-agent, decided on a path", clients, true, Ours(DecidePath));
  constexpr uint32_t kMilliseconds = 200;
  std::vector<std::vector<double>> rates(groups.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < groups.size(); ++i) {
      const size_t at = (i + static_cast<size_t>(round)) % groups.size();
      rates[at].push_back(static_cast<double>(groups[at]->Throughput(kMilliseconds)) * 1000 /
                          kMilliseconds);
    }
  }
  std::vector<double> rate;
  printf("throughput, %zu listener%s:\n", clients, clients == 1 ? "" : "s");
  for (size_t i = 0; i < groups.size(); ++i) {
    rate.push_back(Median(rates[i]));
    printf("  %-44s %.0f k/s\n", groups[i]->name().c_str(), rate[i] / 1000);
  }
  Verdict("without memory, of the best C loop", rate[2] / std::max(rate[0], rate[1]),
          kThroughputBound, false);
  printf("  %-44s %.2f\n", "on a path, of the best C loop that reads one",
         rate[5] / std::max(rate[3], rate[4]));
}

void Throughput(int rounds) {
  for (const size_t clients : {1U, 8U, 64U}) ThroughputOf(clients, std::max(3, rounds / 10));
}

// Which design serves best: one client calls, the others are idle.
void Designs(int rounds) {
  for (const size_t clients : {1U, 64U, 1000U}) {
    Groups groups;
    Add(groups, "C loop, thread per listener", clients, false, Loop(LOOP_THREADS));
    Add(groups, "the same, poll before each receive", clients, false, Loop(LOOP_POLLED));
    Add(groups, "the same, two threads in the receive", clients, false, Loop(LOOP_HERD));
    Add(groups, "C loop, epoll", clients, false, Loop(LOOP_EPOLL));
    Add(groups, "landgate-agent", clients, false, Ours(Continue));
    printf("round trip of one of %zu listeners, free:\n", clients);
    const std::vector<double> ns = RoundTrips(groups, rounds, 200);
    for (size_t i = 0; i < groups.size(); ++i)
      printf("  %-44s %.2f us\n", groups[i]->name().c_str(), ns[i] / 1000);
  }
}

// Four clients call now and then; meanwhile nothing else happens, or one listener floods, one has a
// question open and one hangs.
void Fairness(int rounds) {
  constexpr size_t kOthers = 4, kFlood = 4, kAsker = 5, kHanging = 6;
  constexpr uint32_t kMilliseconds = 250, kPauseUs = 500;
  Groups groups;
  Add(groups, "landgate-agent", 7, true, Ours(Stall));
  Group& group = *groups[0];
  group.BeginCall(kAsker, kQuestion);
  group.BeginCall(kHanging, kBlackhole);
  const auto others = [&] {
    for (size_t i = 0; i < kOthers; ++i) group.BeginPaced(i, kMilliseconds, kPauseUs);
    std::vector<double> p99;
    for (size_t i = 0; i < kOthers; ++i) p99.push_back(group.Await(i).p99);
    return Median(std::move(p99));
  };
  std::vector<double> alone, beside;
  uint64_t flooded = 0;
  for (int round = 0; round < rounds; ++round) {
    alone.push_back(others());
    group.BeginFullSpeed(kFlood, kMilliseconds + 50);
    beside.push_back(others());
    flooded += group.Await(kFlood).calls;
  }
  printf("p99 of four listeners that call every %u us (a question open, a call hanging):\n",
         kPauseUs);
  printf("  %-44s %.2f us\n", "alone", Median(alone) / 1000);
  printf("  %-44s %.2f us\n", "beside one that floods", Median(beside) / 1000);
  printf("  %-44s %.0f k/s\n", "the flood",
         static_cast<double>(flooded) / (rounds * (kMilliseconds + 50)));
  Verdict("beside, of alone", Median(beside) / Median(alone), kFairnessBound, true);
}

int Usage() {
  fprintf(stderr, "usage: agent-bench roundtrip|throughput|designs|fairness [ROUNDS]\n");
  return 2;
}

int Main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return Usage();
  const std::string_view what = argv[1];
  const int rounds = argc == 3 ? atoi(argv[2]) : 60;
  if (rounds < 1) return Usage();
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (what == "roundtrip") {
    RoundTrip(rounds);
  } else if (what == "throughput") {
    Throughput(rounds);
  } else if (what == "designs") {
    Designs(rounds);
  } else if (what == "fairness") {
    Fairness(std::max(3, rounds / 6));
  } else {
    return Usage();
  }
  return g_missed ? 1 : 0;
}

}  // namespace
}  // namespace landgate::bench

int main(int argc, char** argv) { return landgate::bench::Main(argc, argv); }
