#include "agent/server/mask_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "agent/log.h"
#include "agent/notify/thread.h"
#include "base/files.h"
#include "base/paths.h"
#include "base/syscalls.h"
#include "sandbox/mount_table.h"

namespace landgate::agent {
namespace {

using sandbox::MountStep;
using sandbox::MountStepKind;
using sandbox::StepState;
using sandbox::WatchedStep;
using namespace std::chrono_literals;

// A container starts in the meantime; what is lost until then is found by the first look.
constexpr auto kFirstLook = 200ms;
// Between two looks at the same container, so that nobody keeps us busy by replacing things.
constexpr auto kPause = 20ms;
// A name that is missing: how often it is looked for beside what inotify tells, and until when.
constexpr auto kMissingLook = 1s;
constexpr auto kMissingPatience = 30s;
// Where inotify can't tell: the same for a name that is missing, and for everything.
constexpr auto kBlindMissingLook = 100ms;
constexpr auto kBlindLook = 5s;
// A helper that did not end, or could not begin.
constexpr auto kHelperPatience = 10s;
constexpr auto kFailedLook = 1s;
constexpr auto kMostFailedLook = 300s;
// Masks and pins that follow swapped symlinks, of one container at a time.
constexpr size_t kMaxFollowed = 256;
constexpr size_t kMaxMountInfoBytes = size_t{64} << 20;

bool IsRestriction(MountStepKind kind) {
  return kind != MountStepKind::kPin && kind != MountStepKind::kBindBack;
}

Result<sandbox::MountTable> TableOf(pid_t process) {
  const UniqueFd file(
      open(("/proc/" + std::to_string(process) + "/mountinfo").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return SystemError("mountinfo", errno);
  Result<std::string> text = ReadAll(file, kMaxMountInfoBytes);
  if (!text) return Forward(text);
  return sandbox::ParseMountInfo(*text);
}

Result<UniqueFd> FileWith(std::string_view bytes) {
  UniqueFd file(memfd_create("landgate-masks", MFD_CLOEXEC));
  if (!file.valid()) return SystemError("memfd_create", errno);
  if (Status written = WriteAll(file, bytes); !written) return Forward(written);
  if (lseek(file.get(), 0, SEEK_SET) < 0) return SystemError("lseek", errno);
  return file;
}

// A helper's look; takes as long as the container's files take. `inotify` may be -1.
Result<MaskAnswer> AskHelper(HelperPool& helpers, const Container& container,
                             const MaskRequest& request, BorrowedFd inotify) {
  Result<UniqueFd> question = FileWith(EncodeMaskRequest(request));
  if (!question) return Forward(question);
  Result<UniqueFd> answer = FileWith("");
  if (!answer) return Forward(answer);
  const std::array<BorrowedFd, 4> fds = {BorrowedFd(container.mount_namespace),
                                         BorrowedFd(*question), BorrowedFd(*answer), inotify};
  HelperRequest operation;
  operation.operation = kRestoreMasks;
  operation.fds = {fds.data(), inotify.get() >= 0 ? fds.size() : fds.size() - 1};
  operation.owner = container.key;
  Result<int64_t> done = helpers.Run(operation, kHelperPatience);
  if (!done) return Forward(done);
  if (*done < 0) return SystemError("a helper", static_cast<int>(-*done));
  if (lseek(answer->get(), 0, SEEK_SET) < 0) return SystemError("lseek", errno);
  Result<std::string> bytes = ReadAll(*answer, kMaxMountInfoBytes);
  if (!bytes) return Forward(bytes);
  std::optional<MaskAnswer> decoded = DecodeMaskAnswer(*bytes);
  if (!decoded ||
      (decoded->problem.empty() && decoded->outcome.steps.size() != request.steps.size())) {
    return Refuse("a helper's answer can't be read");
  }
  return std::move(*decoded);
}

// The paths of the rules that have masks, as they are written: they may lead elsewhere one day.
std::vector<sandbox::WatchedName> NamesOf(const node::Registration& registration) {
  std::vector<sandbox::WatchedName> names;
  const auto first = [&registration](const auto& fits) {
    const auto step = std::find_if(registration.mounts.begin(), registration.mounts.end(),
                                   [&fits](const MountStep& candidate) {
                                     return IsRestriction(candidate.kind) && fits(candidate);
                                   });
    return step == registration.mounts.end() ? nullptr : &*step;
  };
  for (const policy::Policy& policy : registration.policies) {
    if (!policy.paths) continue;
    for (const policy::PathRule& rule : *policy.paths) {
      const MountStep* const of_rule =
          first([&rule](const MountStep& step) { return step.because == rule.origin.pointer; });
      if (!of_rule) continue;
      for (const policy::PathTarget& target : rule.targets) {
        if (target.kind == policy::PathKind::kGlob) continue;
        const MountStep* const own =
            first([&target](const MountStep& step) { return step.path == target.path; });
        names.push_back({target.path, own ? *own : *of_rule});
      }
    }
  }
  return names;
}

}  // namespace

struct MaskWatch::Watched {
  struct Step {
    WatchedStep at;
    std::optional<Clock::time_point> lost_since;
  };

  ContainerPtr container;
  UniqueFd mountinfo;  // polled; read anew each time, because its root moves
  std::optional<Loop::Token> token;
  std::vector<Step> steps;
  std::vector<sandbox::WatchedName> names;
  std::set<int> watches;
  std::optional<Clock::time_point> noticed;  // something may be lost since then
  std::optional<Clock::time_point> planned;  // the next look
  std::optional<Clock::time_point> looking;  // a helper looks; for what was noticed then
  Clock::time_point not_before{};
  Clock::duration failed_pause = kFailedLook;
  bool blind = false;  // inotify does not tell about every name
  std::string complaint;
};

MaskWatch::MaskWatch(Loop& loop, HelperPool& helpers, AuditSink& audit, spdlog::logger& log)
    : loop_(loop),
      helpers_(helpers),
      audit_(audit),
      log_(log),
      inotify_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (!inotify_.valid()) {
    log_.warn("masks: no inotify ({}): what takes a mask along is noticed within seconds",
              SystemError("inotify_init1", errno).value().message);
    return;
  }
  if (auto watched = loop_.Watch(inotify_, EPOLLIN, [this](uint32_t) { OnInotify(); })) {
    inotify_token_ = *watched;
  }
}

MaskWatch::~MaskWatch() = default;

// --- containers ---------------------------------------------------------------------------------

void MaskWatch::Add(const ContainerPtr& container) {
  const node::Registration& registration = container->registration;
  if (registration.mounts.empty() || watched_.contains(container->key)) return;
  auto watched = std::make_unique<Watched>();
  watched->container = container;
  const std::string mountinfo = "/proc/" + std::to_string(registration.pid) + "/mountinfo";
  watched->mountinfo = UniqueFd(open(mountinfo.c_str(), O_RDONLY | O_CLOEXEC));
  if (!watched->mountinfo.valid()) return;  // it has ended
  for (const MountStep& step : registration.mounts) watched->steps.push_back({{step, 0}, {}});
  if (const auto table = TableOf(registration.pid)) {
    // Before the runtime has pivoted they stand beneath the root's place on the host.
    for (const std::string& prefix : {std::string(), registration.root}) {
      const std::vector<uint64_t> ids = MountsAt(*table, registration.mounts, prefix);
      for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] != 0) watched->steps[i].at.mount = ids[i];
      }
    }
  }
  watched->names = NamesOf(registration);
  const uint64_t key = container->key;
  if (auto token = loop_.Watch(watched->mountinfo, EPOLLPRI | EPOLLERR,
                               [this, key](uint32_t) { OnMountInfo(key); })) {
    watched->token = *token;
  }
  watched_[key] = std::move(watched);
  Look(key, kFirstLook);
}

void MaskWatch::Remove(uint64_t container) {
  const auto found = watched_.find(container);
  if (found == watched_.end()) return;
  const Watched& watched = *found->second;
  if (watched.token) loop_.Unwatch(*watched.token, watched.mountinfo);
  for (const int watch : watched.watches) {
    auto& names = entries_[watch];
    for (auto& [name, keys] : names) keys.erase(container);
    std::erase_if(names, [](const auto& entry) { return entry.second.empty(); });
    if (!names.empty()) continue;
    entries_.erase(watch);
    (void)inotify_rm_watch(inotify_.get(), watch);  // EINVAL: its directory is gone
  }
  watched_.erase(found);
}

// What a helper has begun to watch for a container that is gone.
void MaskWatch::Unwatch(const std::vector<WatchedEntry>& entries) {
  for (const WatchedEntry& entry : entries) {
    if (!entries_.contains(entry.watch)) (void)inotify_rm_watch(inotify_.get(), entry.watch);
  }
}

// --- noticing -----------------------------------------------------------------------------------

// Any mount of the container came or went; our own too.
void MaskWatch::OnMountInfo(uint64_t key) {
  const auto found = watched_.find(key);
  if (found == watched_.end()) return;
  const Watched& watched = *found->second;
  const auto table = TableOf(watched.container->registration.pid);
  if (!table) return Notice(key);  // its first process has ended; others may live
  const std::string& root = watched.container->registration.root;
  for (const Watched::Step& step : watched.steps) {
    const sandbox::Mount* const mount = step.at.mount ? table->Find(step.at.mount) : nullptr;
    if (mount && (mount->point == step.at.step.path || mount->point == root + step.at.step.path)) {
      continue;
    }
    if (step.lost_since && !mount) continue;  // known, and looked for
    return Notice(key);
  }
}

void MaskWatch::OnInotify() {
  // A container that makes and removes files all the time is read in portions.
  loop_.Unwatch(inotify_token_, inotify_);
  ReadEvents();
  loop_.After(kPause, [this] {
    ReadEvents();
    if (auto watched = loop_.Watch(inotify_, EPOLLIN, [this](uint32_t) { OnInotify(); })) {
      inotify_token_ = *watched;
    }
  });
}

void MaskWatch::ReadEvents() {
  alignas(struct inotify_event) std::array<char, 65536> buffer;
  std::set<uint64_t> noticed;
  const auto everybody = [&](bool only_looking) {
    bool any = false;
    for (const auto& [key, watched] : watched_) {
      if (only_looking && !watched->looking) continue;
      noticed.insert(key);
      any = true;
    }
    return any;
  };
  for (;;) {
    const ssize_t size = read(inotify_.get(), buffer.data(), buffer.size());
    if (size <= 0) break;
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const struct inotify_event*>(buffer.data() + at);
      at += static_cast<ssize_t>(sizeof *event + event->len);
      if (event->mask & IN_Q_OVERFLOW) {
        (void)everybody(false);
        continue;
      }
      const auto names = entries_.find(event->wd);
      if (names == entries_.end()) {
        // Of a watch whose helper has not answered yet; or one that was given up.
        if (!everybody(true)) (void)inotify_rm_watch(inotify_.get(), event->wd);
        continue;
      }
      if (event->mask & IN_IGNORED) {
        // The directory is gone; its name's own directory has told so.
        for (const auto& [name, keys] : names->second) noticed.insert(keys.begin(), keys.end());
        entries_.erase(names);
        continue;
      }
      if (event->len == 0) continue;
      const auto entry = names->second.find(std::string(event->name));
      if (entry != names->second.end()) noticed.insert(entry->second.begin(), entry->second.end());
    }
  }
  for (const uint64_t key : noticed) Notice(key);
}

void MaskWatch::Notice(uint64_t key) {
  const auto found = watched_.find(key);
  if (found == watched_.end()) return;
  if (!found->second->noticed) found->second->noticed = Clock::now();
  Look(key, 0ms);
}

// --- looking ------------------------------------------------------------------------------------

void MaskWatch::Look(uint64_t key, Clock::duration delay) {
  const auto found = watched_.find(key);
  if (found == watched_.end()) return;
  Watched& watched = *found->second;
  const auto now = Clock::now();
  const auto at = std::max(now + delay, watched.not_before);
  if (at <= now) return Run(key);
  if (watched.planned && *watched.planned <= at) return;
  watched.planned = at;
  loop_.After(at - now, [this, key, at] {
    const auto again = watched_.find(key);
    if (again == watched_.end() || again->second->planned != at) return;
    Run(key);
  });
}

void MaskWatch::Run(uint64_t key) {
  const auto found = watched_.find(key);
  if (found == watched_.end() || found->second->looking) return;  // Done looks again
  Watched& watched = *found->second;
  watched.planned.reset();
  watched.looking = watched.noticed.value_or(Clock::now());
  watched.noticed.reset();
  auto request = std::make_shared<MaskRequest>();
  request->before_pivot = watched.container->registration.root;
  for (const Watched::Step& step : watched.steps) request->steps.push_back(step.at);
  const size_t most = watched.container->registration.mounts.size() + kMaxFollowed;
  if (watched.steps.size() < most) request->names = watched.names;
  const bool begun =
      StartThread("mask-restore", [this, key, request, container = watched.container] {
        Result<MaskAnswer> asked = AskHelper(helpers_, *container, *request, inotify_);
        auto answer = std::make_shared<std::optional<MaskAnswer>>();
        std::string problem;
        if (asked) {
          *answer = std::move(*asked);
        } else {
          problem = asked.error().message;
        }
        loop_.Post([this, key, answer, problem] { Done(key, std::move(*answer), problem); });
      });
  if (!begun) Done(key, std::nullopt, "no thread could be made");
}

void MaskWatch::Done(uint64_t key, std::optional<MaskAnswer> answer, const std::string& problem) {
  const auto found = watched_.find(key);
  if (found == watched_.end()) {
    if (answer) Unwatch(answer->entries);
    return;
  }
  Watched& watched = *found->second;
  const auto now = Clock::now();
  const auto since = watched.looking.value_or(now);
  watched.looking.reset();
  if (!answer || !answer->problem.empty()) {
    Complain(watched, answer ? answer->problem : problem);
    watched.noticed = std::min(since, watched.noticed.value_or(since));
    watched.not_before = now + watched.failed_pause;
    watched.failed_pause = std::min<Clock::duration>(watched.failed_pause * 2, kMostFailedLook);
    return Look(key, 0ms);
  }
  watched.failed_pause = kFailedLook;
  watched.not_before = now + kPause;
  Take(watched, std::move(*answer), since);
  // What was noticed meanwhile may be newer than what the helper saw.
  if (watched.noticed) return Look(key, 0ms);
  const bool missing =
      std::any_of(watched.steps.begin(), watched.steps.end(), [now](const Watched::Step& step) {
        return step.lost_since && now - *step.lost_since < kMissingPatience;
      });
  if (missing) return Look(key, watched.blind ? kBlindMissingLook : kMissingLook);
  if (watched.blind) Look(key, kBlindLook);
}

void MaskWatch::Take(Watched& watched, MaskAnswer answer, Clock::time_point since) {
  const auto now = Clock::now();
  for (const WatchedEntry& entry : answer.entries) {
    entries_[entry.watch][entry.name].insert(watched.container->key);
    watched.watches.insert(entry.watch);
  }
  watched.blind = answer.unwatched || !inotify_.valid();
  for (size_t i = 0; i < answer.outcome.steps.size() && i < watched.steps.size(); ++i) {
    Watched::Step& step = watched.steps[i];
    const sandbox::StepOutcome& outcome = answer.outcome.steps[i];
    step.at.mount = outcome.mount;
    if (outcome.state == StepState::kStands) {
      step.lost_since.reset();
      continue;
    }
    if (!step.lost_since) {
      step.lost_since = since;
      Tell(watched, AuditEvent::kMaskLost, step.at.step,
           outcome.state == StepState::kRestored
               ? "replaced from outside the container"
               : "gone from outside the container: " + outcome.problem,
           std::nullopt);
    }
    if (outcome.state == StepState::kRestored) {
      Tell(watched, AuditEvent::kMaskRestored, step.at.step,
           "stands on the new object; what was opened before stays open", now - *step.lost_since);
      step.lost_since.reset();
    } else if (outcome.state == StepState::kFailed) {
      Complain(watched, step.at.step.path + ": " + outcome.problem);
    }
  }
  for (WatchedStep& added : answer.outcome.added) {
    Tell(watched, AuditEvent::kMaskLost, added.step, "the rule's path leads here now",
         std::nullopt);
    Tell(watched, AuditEvent::kMaskRestored, added.step,
         "stands where the rule's path leads now; what was opened before stays open", now - since);
    watched.steps.push_back({std::move(added), {}});
  }
  Retire(watched, answer.outcome.leads);
}

// A step whose object is gone for good: no rule names its very path, and the path of its rule leads
// to another one, which is masked. Then the pins that stood above it alone.
void MaskWatch::Retire(Watched& watched, const std::vector<std::string>& leads) {
  const auto stands = [&watched](const std::string& path) {
    return std::any_of(watched.steps.begin(), watched.steps.end(), [&](const Watched::Step& step) {
      return step.at.step.path == path && !step.lost_since;
    });
  };
  const auto superseded = [&](const Watched::Step& step) {
    bool elsewhere = false;
    for (size_t i = 0; i < leads.size() && i < watched.names.size(); ++i) {
      const sandbox::WatchedName& name = watched.names[i];
      if (name.path == step.at.step.path) return false;
      elsewhere = elsewhere || (name.like.because == step.at.step.because &&
                                leads[i] != step.at.step.path && stands(leads[i]));
    }
    return elsewhere;
  };
  std::vector<Watched::Step> kept;
  for (const Watched::Step& step : watched.steps) {
    if (!step.lost_since || !IsRestriction(step.at.step.kind) || !superseded(step)) {
      kept.push_back(step);
    }
  }
  const auto alone = [&kept](const Watched::Step& pin) {
    return std::none_of(kept.begin(), kept.end(), [&pin](const Watched::Step& step) {
      return IsRestriction(step.at.step.kind) && IsBeneath(step.at.step.path, pin.at.step.path);
    });
  };
  watched.steps.clear();
  for (const Watched::Step& step : kept) {
    const bool lost_pin = step.lost_since && step.at.step.kind == MountStepKind::kPin;
    if (!lost_pin || !alone(step)) watched.steps.push_back(step);
  }
}

// --- telling ------------------------------------------------------------------------------------

void MaskWatch::Tell(const Watched& watched, AuditEvent event, const MountStep& step,
                     std::string message, std::optional<Clock::duration> took) const {
  AuditRecord record;
  record.event = event;
  record.container = watched.container->id();
  record.pod = watched.container->registration.pod;
  record.path = step.path;
  record.reason = AuditReason::kMaskLost;
  const auto& policies = watched.container->registration.policies;
  if (!step.because.empty()) {
    record.rule = (policies.size() == 1 ? policies[0].name : std::string()) + "#" + step.because;
  }
  if (step.kind == MountStepKind::kPin) message = "the pin of a directory: " + message;
  record.message = std::move(message);
  if (took) record.latency = std::chrono::duration_cast<std::chrono::microseconds>(*took);
  audit_.Write(std::move(record));
}

void MaskWatch::Complain(Watched& watched, const std::string& problem) {
  if (watched.complaint == problem) return;
  watched.complaint = problem;
  log_.error("container {}: its masks can't be looked after: {}",
             Printable(watched.container->id()), Printable(problem));
}

}  // namespace landgate::agent
