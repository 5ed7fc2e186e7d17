// Audit mode: every call goes on, and what the policy would have denied is written down.
//
// Read who asks and for what, decide, answer, tell. The answer comes before the files are looked at
// where the call makes and removes nothing and its path, taken as text, is allowed: then looking
// afterwards sees the same. Where it is not, and where the call changes what can be seen, looking
// comes first; so the record says what was there, and who asked is still there to be named.
//
// What a container's process did before its first execve is the runtime's and not looked at.
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/handlers/caller.h"
#include "agent/handlers/calls.h"
#include "agent/handlers/container_rules.h"
#include "agent/handlers/destination_request.h"
#include "agent/handlers/handlers.h"
#include "agent/handlers/path_request.h"
#include "agent/handlers/repeats.h"
#include "agent/handlers/resolve.h"
#include "agent/handlers/seen_calls.h"
#include "base/paths.h"

namespace landgate::agent {
namespace {

using Clock = std::chrono::steady_clock;
using policy::Rights;
using policy::Verdict;

// One place, or one destination, that the policy would have denied.
struct Finding {
  std::string rights;  // Landlock's words
  std::string path, requested;
  std::string destination;
  AuditReason reason = AuditReason::kNone;
  std::string rule;
  std::string message;
  int error_number = 0;
};

Finding FindingOf(const Judgement& judgement) {
  Finding finding;
  finding.reason = AuditReasonOf(judgement.decision.reason);
  finding.rule = judgement.rule;
  finding.error_number = judgement.decision.error_number;
  if (judgement.decision.verdict == Verdict::kAsk) {
    finding.message = "a person would have been asked";
  }
  return finding;
}

// A call on its way through the handler. It can be answered once; afterwards what is known of the
// notification stays.
class Examined {
 public:
  Examined(Call& call, const CallInfo* info) : call_(call), info_(info), request_(call.request) {}

  void Answer() {
    if (answered_) return;
    answered_ = true;
    (void)std::move(call_.notification).Let(Continue::AuditMode());
    took_ = Clock::now() - began_;
  }

  const CallInfo& info() const { return *info_; }
  bool known() const { return info_ != nullptr; }
  const struct seccomp_notif& request() const { return request_; }
  pid_t thread() const { return static_cast<pid_t>(request_.pid); }
  std::chrono::microseconds latency() const {
    return std::chrono::duration_cast<std::chrono::microseconds>(answered_ ? took_
                                                                           : Clock::now() - began_);
  }

 private:
  Call& call_;
  const CallInfo* info_;
  const struct seccomp_notif request_;
  const Clock::time_point began_ = Clock::now();
  Clock::duration took_{};
  bool answered_ = false;
};

// Looks that are made after the answer hold no slot of the listener, so nothing else bounds them; a
// file system that never answers would keep a thread for each. Beyond it the call waits for its
// look, as kMaxInFlightPerListener allows.
constexpr int kMaxLookingAfterwards = 16;
struct Afterwards {
  explicit Afterwards(std::atomic<int>& count)
      : looking(count), may(count.fetch_add(1) < kMaxLookingAfterwards) {}
  ~Afterwards() { looking.fetch_sub(1); }
  Afterwards(const Afterwards&) = delete;
  Afterwards& operator=(const Afterwards&) = delete;
  std::atomic<int>& looking;
  const bool may;
};

bool OnlyUses(const PathRequest& request) {
  for (const Place& place : request.all()) {
    if (place.deed != Deed::kUse && place.deed != Deed::kNothing) return false;
  }
  return true;
}

bool NeedsNothing(const PathRequest& request) {
  for (const Place& place : request.all()) {
    if (place.deed != Deed::kNothing) return false;
  }
  return true;
}

bool AllAbsolute(const PathRequest& request) {
  for (const Place& place : request.all()) {
    if (!place.absolute()) return false;
  }
  return true;
}

void AddPlace(Fingerprint& fingerprint, const Place& place) {
  fingerprint.Add(static_cast<uint64_t>(place.deed) | (place.follow ? 0x100U : 0U) |
                  (place.empty_is_dirfd ? 0x200U : 0U) | place.resolve << 16);
  fingerprint.Add(place.object << 32 | place.make);
  fingerprint.Add(place.path);
}

void AddAnchor(Fingerprint& fingerprint, const Anchor& anchor) {
  fingerprint.Add(anchor.mount_id).Add(anchor.object.inode);
}

class AuditHandler {
 public:
  AuditHandler(const Services& services, ContainerPtr container, const ListenerOrigin& origin)
      : container_(std::move(container)),
        process_(origin.kind == ListenerKind::kMain ? container_->registration.pid
                                                    : origin.process),
        repeats_(services.audit) {}

  void Handle(Call& call) {
    const CallInfo* const info = FindCall(call.request.data.arch, call.request.data.nr);
    if (call.listener.phase() != Phase::kWorkload && !BeginsWorkload(call, info)) {
      (void)std::move(call.notification)
          .Let(Continue::NothingMutable("the runtime, before it starts the workload"));
      return;
    }
    Examined examined(call, info);
    if (!info) {
      Finding finding;
      finding.reason = AuditReason::kUnsupported;
      finding.message = "system call " + std::to_string(call.request.data.nr) +
                        " of another architecture was not looked at";
      Report(call.listener, examined, {finding});
      return examined.Answer();
    }
    if (info->category == Category::kMarker) {
      (void)std::move(call.notification).Deny(ENOSYS);  // as every kernel answers it
      return;
    }
    if (!call.MaySlow()) {
      Finding finding;
      finding.reason = AuditReason::kBusy;
      finding.message = "too many calls at a time: not looked at";
      examined.Answer();
      return Report(call.listener, examined, {finding});
    }
    if (info->category == Category::kNetwork) {
      Network(call, examined);
    } else {
      Files(call, examined);
    }
    examined.Answer();
  }

 private:
  // --- phases -----------------------------------------------------------------------------------

  // The execve by which the runtime's process becomes the container's. Other processes that execute
  // something before it are startContainer hooks.
  bool BeginsWorkload(Call& call, const CallInfo* info) {
    Region& region = call.listener.region();
    int32_t process = region.process.load(std::memory_order_relaxed);
    const bool executes = info && info->category == Category::kExec;
    if (process != 0 && !executes) return false;
    const std::optional<Caller> caller = IdentifyCaller(static_cast<pid_t>(call.request.pid));
    if (!caller) return false;
    if (process == 0) {
      const int32_t named = process_ != 0 ? process_ : caller->tgid;
      if (region.process.compare_exchange_strong(process, named)) process = named;
    }
    if (!executes || caller->tgid != process) return false;
    call.listener.Advance(Phase::kWorkload);
    return true;
  }

  // Rules in the container's own names, from the moment its mounts are final.
  const ContainerRules& Rules(pid_t thread) {
    std::call_once(rules_once_, [&] {
      pid_t owner = container_->registration.pid;
      auto root = OpenRootOf(owner);
      if (!root) root = OpenRootOf(owner = thread);
      if (root) root_text_ = RootText(owner).value_or("/");
      rules_.emplace(container_->registration.policies,
                     root ? BorrowedFd(root->fd) : BorrowedFd(-1));
    });
    return *rules_;
  }

  // --- files ------------------------------------------------------------------------------------

  void Files(Call& call, Examined& examined) {
    const ContainerRules& rules = Rules(examined.thread());
    PathBuffers buffers;
    const auto request = ReadPathRequest(examined.info(), examined.request(), buffers);
    if (!call.notification.StillValid()) return;
    if (!request) {
      if (!IsCallersError(request.error()) && request.error() != E2BIG) {
        Unreadable(call.listener, examined, request.error());
      }
      return;
    }
    if (!rules.restricts_paths() || NeedsNothing(*request)) return;

    std::optional<Fingerprint> by_thread;
    if (AllAbsolute(*request)) {
      by_thread.emplace();
      by_thread->Add(static_cast<uint64_t>(examined.thread()));
      for (const Place& place : request->all()) AddPlace(*by_thread, place);
      if (seen_.Contains(by_thread->value())) return;
    }

    Grounds grounds;
    if (!grounds.Open(examined.thread(), *request)) return;  // the kernel says EBADF, or it is gone
    const uint64_t by_ground = grounds.Mark(*request);
    if (!seen_.Contains(by_ground)) {
      std::optional<Afterwards> afterwards;
      if (examined.info().category == Category::kPath && OnlyUses(*request) &&
          AllowedAsText(*request, grounds) && afterwards.emplace(looking_).may) {
        examined.Answer();
      }
      const std::vector<Finding> findings = Judge(*request, grounds, examined.thread());
      if (!findings.empty()) return Report(call.listener, examined, findings);
      seen_.Insert(by_ground);
    }
    if (by_thread) seen_.Insert(by_thread->value());
  }

  // Where the places of a request begin.
  struct Grounds {
    Anchor root;
    std::array<std::optional<Anchor>, 2> starts;

    bool Open(pid_t thread, const PathRequest& request) {
      auto opened = OpenRootOf(thread);
      if (!opened) return false;
      root = std::move(*opened);
      for (size_t i = 0; i < request.count; ++i) {
        const Place& place = request.places[i];
        if (place.absolute() && (place.resolve & RESOLVE_IN_ROOT) == 0) continue;
        auto start = OpenDirectoryOf(thread, place.dirfd);
        if (!start) return false;
        starts[i] = std::move(*start);
      }
      return true;
    }
    uint64_t Mark(const PathRequest& request) const {
      Fingerprint fingerprint;
      AddAnchor(fingerprint, root);
      for (size_t i = 0; i < request.count; ++i) {
        AddPlace(fingerprint, request.places[i]);
        if (starts[i]) AddAnchor(fingerprint, *starts[i]);
      }
      return fingerprint.value();
    }
  };

  Journey JourneyTo(const PathRequest& request, const Grounds& grounds, size_t i,
                    pid_t thread) const {
    const Place& place = request.places[i];
    Journey journey;
    journey.root = &grounds.root;
    journey.start = grounds.starts[i] ? &*grounds.starts[i] : nullptr;
    journey.path = place.path;
    journey.follow = place.follow;
    journey.empty_is_start = place.empty_is_dirfd;
    journey.resolve = place.resolve;
    journey.thread = thread;
    journey.root_text = root_text_;
    return journey;
  }

  // Without looking at any file: good enough to let the call go on first.
  bool AllowedAsText(const PathRequest& request, const Grounds& grounds) const {
    if (grounds.root.type != S_IFDIR) return false;
    for (size_t i = 0; i < request.count; ++i) {
      const Place& place = request.places[i];
      const BorrowedFd start(place.absolute() || !grounds.starts[i] ? grounds.root.fd
                                                                    : grounds.starts[i]->fd);
      std::string text = NameOf(start, root_text_);
      if (text.empty()) return false;
      if (!place.path.empty()) text += "/" + std::string(place.path);
      text = Clean(text);
      if (!IsCleanAbsolute(text) || !rules_->PathAllowed(text, place.object)) return false;
    }
    return true;
  }

  std::vector<Finding> Judge(const PathRequest& request, const Grounds& grounds, pid_t thread) {
    std::array<Arrival, 2> arrivals;
    for (size_t i = 0; i < request.count; ++i) {
      auto arrival = Reach(JourneyTo(request, grounds, i, thread));
      if (!arrival && IsCallersError(arrival.error())) return {};
      arrivals[i] = arrival ? std::move(*arrival) : AsText(request, grounds, i);
    }
    const bool same_directory = arrivals[0].directory == arrivals[1].directory &&
                                arrivals[0].directory_mount == arrivals[1].directory_mount;
    std::vector<Finding> findings;
    for (size_t i = 0; i < request.count; ++i) {
      const Needed needed =
          RightsAt(request.places[i], {arrivals[i].type}, {arrivals[1 - i].type}, same_directory);
      JudgePlace(request.places[i], arrivals[i], needed, findings);
    }
    return findings;
  }

  // What could not be looked at (a FUSE mount of another user's) is judged by its name.
  Arrival AsText(const PathRequest& request, const Grounds& grounds, size_t i) const {
    const Place& place = request.places[i];
    Arrival arrival;
    const BorrowedFd start(place.absolute() || !grounds.starts[i] ? grounds.root.fd
                                                                  : grounds.starts[i]->fd);
    const std::string text = Clean(NameOf(start, root_text_) + "/" + std::string(place.path));
    if (!IsCleanAbsolute(text)) return arrival;
    arrival.type = S_IFREG;
    arrival.object = arrival.name = text;
    return arrival;
  }

  void JudgePlace(const Place& place, const Arrival& arrival, const Needed& needed,
                  std::vector<Finding>& findings) {
    // A file that is made has the name for an object.
    const std::string& object = arrival.object.empty() ? arrival.name : arrival.object;
    if (object == arrival.name) {
      return JudgeName(place, object, needed.object | needed.name, findings);
    }
    JudgeName(place, object, needed.object, findings);
    JudgeName(place, arrival.name, needed.name, findings);
  }

  void JudgeName(const Place& place, const std::string& name, Rights rights,
                 std::vector<Finding>& findings) {
    // Pipes, sockets and memfds have no name, and Landlock leaves them alone.
    if (rights == 0 || name.empty()) return;
    const Judgement judgement = rules_->Path(name, rights);
    if (judgement.decision.verdict == Verdict::kAllow) return;
    Finding finding = FindingOf(judgement);
    finding.rights = FsRightsText(judgement.denied);
    finding.path = name;
    if (place.path != name) finding.requested = place.path;
    findings.push_back(std::move(finding));
  }

  // --- network ----------------------------------------------------------------------------------

  void Network(Call& call, Examined& examined) {
    const ContainerRules& rules = Rules(examined.thread());
    const CallInfo& info = examined.info();
    const auto raw = ReadAddress(info, examined.request());
    if (!call.notification.StillValid()) return;
    if (!raw) {
      if (!IsCallersError(raw.error())) Unreadable(call.listener, examined, raw.error());
      return;
    }
    const auto socket = KindOfSocket(
        examined.thread(), static_cast<int>(examined.request().data.args[info.roles.descriptor]));
    if (!socket) {
      if (socket.error().error_number == EPERM) Unreadable(call.listener, examined, EPERM);
      return;
    }
    const policy::Operation operation =
        info.kind == CallKind::kConnect ? policy::Operation::kConnect : policy::Operation::kBind;
    auto request = DecodeAddress(operation, *socket, raw->text());
    if (!request || !*request) return;
    policy::Endpoint& endpoint = (*request)->endpoint;
    std::vector<Finding> findings;
    std::string requested;
    if (endpoint.transport == policy::Transport::kUnix && !endpoint.abstract) {
      requested = endpoint.unix_name;
      if (!UnixPath(examined.thread(), operation, endpoint, findings)) return;
    }
    if (rules.restricts_network()) {
      const Judgement judgement = rules.Network(operation, endpoint);
      if (judgement.decision.verdict != Verdict::kAllow) {
        Finding finding = FindingOf(judgement);
        finding.rights = NetworkRightName(operation, endpoint.transport);
        finding.destination = DescribeEndpoint(endpoint);
        if (requested != endpoint.unix_name) finding.requested = requested;
        findings.push_back(std::move(finding));
      }
    }
    if (!findings.empty()) Report(call.listener, examined, findings);
  }

  // The name of a UNIX socket in the container's words, and what the `paths` sections say to it.
  // False: the kernel refuses by itself.
  bool UnixPath(pid_t thread, policy::Operation operation, policy::Endpoint& endpoint,
                std::vector<Finding>& findings) {
    const std::string written = endpoint.unix_name;
    PathRequest request;
    request.count = 1;
    Place& place = request.places[0];
    place.path = written;
    if (operation == policy::Operation::kBind) {
      place.follow = false;
      place.deed = Deed::kMake;
      place.make = abi::kFsMakeSock;
    } else {
      place.deed = Deed::kUse;
      place.object = abi::kFsResolveUnix;
    }
    Grounds grounds;
    if (!grounds.Open(thread, request)) return false;
    const auto arrival = Reach(JourneyTo(request, grounds, 0, thread));
    if (!arrival) return !IsCallersError(arrival.error());
    if (operation == policy::Operation::kConnect && arrival->type == 0) return false;
    const std::string& name =
        operation == policy::Operation::kConnect ? arrival->object : arrival->name;
    if (!name.empty()) endpoint.unix_name = name;
    if (operation == policy::Operation::kBind || rules_->handles_unix()) {
      JudgePlace(place, *arrival, RightsAt(place, {arrival->type}, {}, true), findings);
    }
    return true;
  }

  // --- telling ----------------------------------------------------------------------------------

  void Unreadable(Listener& listener, Examined& examined, int error_number) {
    Finding finding;
    finding.reason = AuditReason::kBackendError;
    finding.error_number = error_number;
    finding.message = "the caller's memory or socket can't be read: not looked at";
    Report(listener, examined, {finding});
  }

  void Report(Listener& listener, Examined& examined, const std::vector<Finding>& findings) {
    std::optional<Caller> caller;
    for (const Finding& finding : findings) {
      const uint64_t kind = Fingerprint::Timeless()
                                .Add(static_cast<uint64_t>(examined.thread()))
                                .Add(static_cast<uint64_t>(examined.request().data.nr))
                                .Add(static_cast<uint64_t>(finding.reason))
                                .Add(finding.rights)
                                .Add(finding.path)
                                .Add(finding.destination)
                                .Add(finding.rule)
                                .value();
      listener.region().denied.fetch_add(1, std::memory_order_relaxed);
      if (repeats_.Counted(kind)) continue;
      if (!caller) caller = DescribeCaller(examined.thread()).value_or(Caller{});
      AuditRecord record;
      record.event = AuditEvent::kAccess;
      record.container = container_->id();
      record.pod = container_->registration.pod;
      record.pid = caller->tgid != 0 ? caller->tgid : examined.thread();
      record.nspid = caller->nspid;
      record.comm = caller->comm;
      record.exe = caller->exe;
      if (examined.known()) record.syscall = examined.info().name;
      record.rights = finding.rights;
      record.path = finding.path;
      record.requested_path = finding.requested;
      record.destination = finding.destination;
      record.verdict = AuditVerdict::kAudit;
      record.reason = finding.reason;
      record.rule = finding.rule;
      record.message = finding.message;
      record.error_number = finding.error_number;
      record.latency = examined.latency();
      repeats_.Write(kind, std::move(record));
    }
  }

  const ContainerPtr container_;
  const pid_t process_;
  std::once_flag rules_once_;
  std::optional<ContainerRules> rules_;
  std::string root_text_ = "/";
  SeenCalls seen_;
  std::atomic<int> looking_{0};  // after the answer
  Repeats repeats_;
};

}  // namespace

Handler MakeAuditHandler(const Services& services, const ContainerPtr& container,
                         ListenerOrigin origin) {
  auto handler = std::make_shared<AuditHandler>(services, container, origin);
  return [handler = std::move(handler)](Call& call) { handler->Handle(call); };
}

}  // namespace landgate::agent
