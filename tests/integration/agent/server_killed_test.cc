// Containers outlive the agent: the serving process is killed with SIGKILL over and over while
// processes under a filter call at full speed. None of their calls fails, none hangs, none is
// answered wrongly, and what has a side effect is performed once.
//
// The server here is a small one, made of the agent's own parts: holder, area, listeners, helpers.
// 40 kills in the suite; LANDGATE_SURVIVAL_KILLS=N for more, LANDGATE_ONCE_OPERATIONS=N for more
// operations under signals than 10,000.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "agent/audit.h"
#include "agent/helper/helper_pool.h"
#include "agent/helper/once_perform.h"
#include "agent/holder/holder_client.h"
#include "agent/holder/holder_peer.h"
#include "agent/holder/holder_start.h"
#include "agent/notify/area.h"
#include "agent/notify/listener.h"
#include "agent/notify/metrics.h"
#include "base/files.h"
#include "tests/agent_support/agent_program.h"
#include "tests/agent_support/child.h"
#include "tests/agent_support/filtered_process.h"

namespace landgate::agent {
namespace {

using test::Child;
using test::FilteredProcess;

constexpr int kWorkers = 4;
constexpr int kPlain = SYS_getppid;  // answered arg + kOffset
constexpr int kSide = SYS_getpgid;   // arg is a number; performs "count" with it, answered with it
constexpr long kOffset = 1000;
constexpr long kMostOperations = 1 << 20;

// --- the operation: counts how often it was performed with a number, in a file
// ---------------------

struct CountRequest {
  char path[128];
  int64_t number;
};

int64_t Count(const OperationInput& input) {
  CountRequest request;
  if (input.bytes.size() != sizeof request) return -EINVAL;
  std::memcpy(&request, input.bytes.data(), sizeof request);
  const UniqueFd file(open(request.path, O_RDWR | O_CLOEXEC));
  if (!file.valid()) return -errno;
  unsigned char count = 0;
  if (pread(file.get(), &count, 1, request.number) < 0) return -errno;
  ++count;
  if (pwrite(file.get(), &count, 1, request.number) != 1) return -errno;
  usleep(static_cast<useconds_t>(request.number % 7) * 100);  // a slow disk, sometimes
  return request.number;
}

constexpr std::array<NamedOperation, 1> kOperations = {{{"count", Count}}};

// --- the workers
// -----------------------------------------------------------------------------------

struct Progress {
  std::atomic<bool> stop;
  struct Worker {
    std::atomic<long> calls, operations, wrong, lost, signals;
    std::atomic<int> error_number;
  } workers[kWorkers];
};

std::atomic<long>* g_signals = nullptr;  // of this worker

int Work(Progress& progress, int index, bool with_signals) {
  Progress::Worker& self = progress.workers[index];
  g_signals = &self.signals;
  if (with_signals) {
    struct sigaction action {};
    action.sa_handler = [](int) { ++*g_signals; };
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGALRM, &action, nullptr);
    const itimerval every_ms{{0, 1000}, {0, 1000}};
    (void)setitimer(ITIMER_REAL, &every_ms, nullptr);
  }
  long operation = 0;
  for (long i = 0; !progress.stop; ++i) {
    const long argument = i & 0xffff;
    if (syscall(kPlain, argument) != argument + kOffset) {
      self.error_number = errno;
      ++self.wrong;
    }
    ++self.calls;
    if (i % 16 != 0 || operation >= kMostOperations) continue;
    const long done = syscall(kSide, operation);
    if (done < 0 && errno == EIO) {
      ++self.lost;
    } else if (done != operation) {
      self.error_number = errno;
      ++self.wrong;
    }
    self.operations = ++operation;
  }
  return 0;
}

// --- the server
// ------------------------------------------------------------------------------------

class NoAudit : public AuditSink {
  void Write(AuditRecord) override {}
};

struct World {
  std::string directory;
  std::string Socket() const { return directory + "/holder.sock"; }
  std::string CountsOf(uint64_t worker) const {
    return directory + "/counts." + std::to_string(worker);
  }
};

Handler MakeHandler(const World& world, Once& once) {
  return [&world, &once](Call& call) {
    const seccomp_notif& request = call.request;
    if (request.data.nr == kPlain) {
      once.Other(call.listener.region_index(), request);
      (void)std::move(call.notification)
          .Return(static_cast<int64_t>(request.data.args[0]) + kOffset);
      return;
    }
    if (!call.MaySlow()) {
      (void)std::move(call.notification).Deny(EAGAIN);
      return;
    }
    CountRequest count{};
    const std::string path = world.CountsOf(call.listener.key());
    path.copy(count.path, sizeof count.path - 1);
    count.number = static_cast<int64_t>(request.data.args[0]);
    const std::string_view bytes(reinterpret_cast<const char*>(&count), sizeof count);
    const std::optional<CallKey> key =
        MakeCallKey(call.notification, std::as_bytes(std::span(bytes)));
    if (!key) return;
    const Once::Outcome outcome =
        once.Perform(call.listener.region_index(), *key,
                     {.operation = "count", .bytes = bytes, .fds = {}, .owner = 1},
                     call.notification, std::chrono::seconds(20));
    (void)once.Answer(std::move(call.notification), outcome);
  };
}

// Serves until it is killed. `fresh`: listeners that no holder has yet; their keys are 1, 2, …
int Serve(const World& world, std::vector<UniqueFd> fresh, const Child::Mouth& mouth) {
  std::vector<KeptObject> kept;
  auto holder = Holder::Connect(world.Socket(), test::kThisProgram, &kept, {});
  if (!holder) {
    mouth.Say(holder.error().message);
    return 1;
  }
  std::optional<Area> area;
  for (KeptObject& object : kept) {
    if (object.kind != Kept::kArea) continue;
    Result<Area> opened = Area::Open(std::move(object.fd));
    if (!opened) return 2;
    area.emplace(*std::move(opened));
  }
  if (!area) {
    Result<Area> created = Area::Create();
    if (!created || !(*holder)->Keep(Kept::kArea, 0, "", created->memfd())) return 3;
    area.emplace(*std::move(created));
  }
  HelperPool helpers({.command = {test::kThisProgram, "helper"},
                      .operations = kOperations,
                      .area = area->memfd()});
  Once once(*area, helpers);
  NoAudit audit;
  Metrics metrics;
  const Services services{&*area, holder->get(), &audit, &metrics};
  std::vector<std::shared_ptr<Listener>> listeners;
  const auto start = [&](UniqueFd fd, uint32_t region) {
    auto listener = Listener::Start(services, std::move(fd), region, nullptr,
                                    MakeHandler(world, once), [](Listener&) {});
    if (!listener) return false;
    listeners.push_back(*std::move(listener));
    return true;
  };
  for (KeptObject& object : kept) {
    if (object.kind != Kept::kListener) continue;
    if (!start(std::move(object.fd), static_cast<uint32_t>(std::stoul(object.blob)))) return 4;
  }
  uint64_t key = 0;
  for (UniqueFd& fd : fresh) {
    const std::optional<uint32_t> region = area->Allocate(++key);
    if (!region || !(*holder)->Keep(Kept::kListener, key, std::to_string(*region), fd)) return 5;
    if (!start(std::move(fd), *region)) return 6;
  }
  mouth.Say("ready");
  for (;;) pause();
}

// --- the tests
// ---------------------------------------------------------------------------------------

class ServerKilledTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/landgate-survival-XXXXXX";
    world_.directory = mkdtemp(name);
    void* const shared =
        mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    progress_ = new (shared) Progress();
    for (uint64_t i = 1; i <= kWorkers; ++i) {
      ASSERT_TRUE(
          WriteAll(UniqueFd(open(world_.CountsOf(i).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)),
                   std::string(1, '\0')));
      ASSERT_EQ(truncate(world_.CountsOf(i).c_str(), kMostOperations), 0);
    }
  }
  void TearDown() override {
    server_.Kill();
    if (const auto holder = ConnectToHolder(world_.Socket())) {
      if (const auto peer = IdentifyPeer(*holder)) (void)kill(peer->pid, SIGKILL);
    }
    (void)munmap(progress_, sizeof(Progress));
    std::filesystem::remove_all(world_.directory);
  }

  // The workers and the first server, which then has their listeners alone.
  void Begin(bool with_signals) {
    std::vector<UniqueFd> listeners;
    for (int i = 0; i < kWorkers; ++i) {
      workers_.push_back(FilteredProcess::Start(
          {kPlain, kSide}, [this, i, with_signals] { return Work(*progress_, i, with_signals); }));
    }
    server_ = Child::Start([this](const Child::Mouth& mouth) {
      std::vector<UniqueFd> fresh;
      for (FilteredProcess& worker : workers_) fresh.push_back(worker.TakeListener());
      return Serve(world_, std::move(fresh), mouth);
    });
    ASSERT_EQ(server_.Hear(), "ready");
    for (FilteredProcess& worker : workers_) {
      (void)worker.TakeListener();  // closed here: the server and the holder have it
      worker.Release();
    }
  }

  void StartServer() {
    server_ = Child::Start([this](const Child::Mouth& mouth) { return Serve(world_, {}, mouth); });
  }

  // Every worker gets somewhere, whatever happened before.
  void ExpectProgress(const char* when) const {
    std::array<long, kWorkers> calls, operations;
    for (size_t i = 0; i < kWorkers; ++i) {
      calls[i] = progress_->workers[i].calls;
      operations[i] = progress_->workers[i].operations;
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (size_t i = 0; i < kWorkers; ++i) {
      while (progress_->workers[i].calls < calls[i] + 20 ||
             progress_->workers[i].operations < operations[i] + 2) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline)
            << "worker " << i << " hangs " << when;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  }

  void End() {
    progress_->stop = true;
    for (size_t i = 0; i < kWorkers; ++i) {
      EXPECT_TRUE(workers_[i].EndsWithin(std::chrono::seconds(30))) << "worker " << i << " hangs";
      EXPECT_EQ(workers_[i].Wait(), 0);
    }
  }

  // Counts what the operations did, and compares with what the workers were told.
  void ExpectEachOnce(long allowed_losses) const {
    long calls = 0, operations = 0, lost = 0;
    for (size_t i = 0; i < kWorkers; ++i) {
      const Progress::Worker& worker = progress_->workers[i];
      EXPECT_EQ(worker.wrong, 0) << "last: " << strerror(worker.error_number);
      const Result<std::string> counts = ReadFile(world_.CountsOf(i + 1));
      ASSERT_TRUE(counts);
      long missing = 0;
      for (long k = 0; k < worker.operations; ++k) {
        const int count = static_cast<unsigned char>((*counts)[static_cast<size_t>(k)]);
        EXPECT_LE(count, 1) << "operation " << k << " of worker " << i;
        missing += count == 0 ? 1 : 0;
      }
      EXPECT_LE(missing, worker.lost);  // a lost one may have happened or not
      calls += worker.calls;
      operations += worker.operations;
      lost += worker.lost;
    }
    EXPECT_LE(lost, allowed_losses);
    std::printf("%ld calls, %ld operations performed once each, %ld answered EIO\n", calls,
                operations, lost);
  }

  static int Kills() {
    const char* const wanted = getenv("LANDGATE_SURVIVAL_KILLS");
    return wanted != nullptr ? atoi(wanted) : 40;
  }

  World world_;
  Progress* progress_ = nullptr;
  std::vector<FilteredProcess> workers_;
  Child server_;
};

TEST_F(ServerKilledTest, KillingTheServerCostsNothing) {
  ASSERT_NO_FATAL_FAILURE(Begin(/*with_signals=*/false));
  std::mt19937 random(7);
  std::uniform_int_distribution<int> life_us(0, 30'000);
  for (int i = 0; i < Kills(); ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(life_us(random)));
    server_.Kill();  // also in the middle of its start
    StartServer();
    if (i % 5 == 4) {
      ASSERT_NO_FATAL_FAILURE(ExpectProgress("after a kill"));
    }
  }
  ASSERT_NO_FATAL_FAILURE(ExpectProgress("at the end"));
  End();
  ExpectEachOnce(0);
}

TEST_F(ServerKilledTest, NorDoesItUnderASignalEveryMillisecond) {
  ASSERT_NO_FATAL_FAILURE(Begin(/*with_signals=*/true));
  std::mt19937 random(8);
  std::uniform_int_distribution<int> life_us(0, 60'000);
  for (int i = 0; i < Kills(); ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(life_us(random)));
    server_.Kill();
    StartServer();
    if (i % 5 == 4) {
      ASSERT_NO_FATAL_FAILURE(ExpectProgress("after a kill"));
    }
  }
  ASSERT_NO_FATAL_FAILURE(ExpectProgress("at the end"));
  End();
  ExpectEachOnce(0);
}

// Without kills: at most once is about signals first.
TEST_F(ServerKilledTest, UnderASignalEveryMillisecondEachOperationHappensOnce) {
  const char* const wanted = getenv("LANDGATE_ONCE_OPERATIONS");
  const long operations = wanted != nullptr ? atol(wanted) : 10'000;
  ASSERT_NO_FATAL_FAILURE(Begin(/*with_signals=*/true));
  for (long done = 0; done < operations;) {
    ASSERT_NO_FATAL_FAILURE(ExpectProgress("under signals"));
    done = 0;
    for (const Progress::Worker& worker : progress_->workers) done += worker.operations;
  }
  End();
  long signals = 0;
  for (const Progress::Worker& worker : progress_->workers) signals += worker.signals;
  EXPECT_GT(signals, operations / 20) << "the race has not run";
  ExpectEachOnce(0);
}

std::vector<pid_t> HelpersOf(pid_t server) {
  std::vector<pid_t> helpers;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = ReadFile(entry.path() / "stat").value_or("");
    const size_t at = stat.find("(landgate-help) ");
    if (at == std::string::npos) continue;
    const std::string parent = stat.substr(at + std::strlen("(landgate-help) S "));
    if (parent.starts_with(std::to_string(server) + " ")) helpers.push_back(std::stoi(name));
  }
  return helpers;
}

// Server and helpers at once: then nobody knows whether the operations in hand have happened.
TEST_F(ServerKilledTest, WhatIsLostWithServerAndHelpersIsToldAsEio) {
  ASSERT_NO_FATAL_FAILURE(Begin(/*with_signals=*/false));
  std::mt19937 random(9);
  std::uniform_int_distribution<int> life_us(0, 20'000);
  const int kills = Kills() / 2;
  for (int i = 0; i < kills; ++i) {
    if (i % 2 == 0) {
      ASSERT_NO_FATAL_FAILURE(ExpectProgress("before a kill"));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(life_us(random)));
    const std::vector<pid_t> family = HelpersOf(server_.pid());
    (void)kill(server_.pid(), SIGSTOP);  // so that none of it acts on the other's death
    for (const pid_t helper : family) (void)kill(helper, SIGKILL);
    server_.Kill();
    StartServer();
  }
  ASSERT_NO_FATAL_FAILURE(ExpectProgress("at the end"));
  End();
  ExpectEachOnce(kills * kWorkers);
}

}  // namespace
}  // namespace landgate::agent

LANDGATE_AGENT_TEST_MAIN(landgate::agent::kOperations)
