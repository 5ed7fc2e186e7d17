#include "agent/handlers/exec_session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <span>
#include <system_error>
#include <utility>

#include "agent/handlers/caller.h"
#include "agent/handlers/execve_request.h"
#include "agent/handlers/turn_watch.h"
#include "agent/holder/holder_client.h"
#include "agent/limits.h"
#include "agent/notify/area.h"
#include "agent/notify/memory.h"
#include "base/files.h"
#include "base/syscalls.h"
#include "sandbox/object.h"
#include "sandbox/plan.h"

namespace landgate::agent {
namespace {

constexpr uint64_t kPage = 4096;
// While another thread is at the same session's earlier notification.
constexpr std::chrono::milliseconds kLookAgain{1};

// With its NUL, as it is written.
const std::string& LauncherBytes() {
  static const std::string bytes = std::string(sandbox::kLauncherPath) + '\0';
  return bytes;
}

std::string Proc(pid_t process, const char* name) {
  return "/proc/" + std::to_string(process) + "/" + name;
}

// Beneath the root that the execve itself will start from: that of the very thread.
Status CompareLauncher(pid_t thread, const node::Registration& registered) {
  const std::string path = Proc(thread, "root");
  const UniqueFd root(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return SystemError(path, errno);
  if (Result<UniqueFd> fd = sandbox::OpenMounted(root, "dev/lg", registered.launcher, "/dev/lg");
      !fd) {
    return Forward(fd);
  }
  if (Result<UniqueFd> fd =
          sandbox::OpenMounted(root, "dev/lg.plan", registered.plan, "/dev/lg.plan");
      !fd) {
    return Forward(fd);
  }
  return {};
}

bool HasEnded(BorrowedFd pidfd) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  return poll(&ended, 1, 0) != 0;
}

// EMFILE, ENOMEM and the like are the agent's own: the runtime is told to come again.
constexpr int kOwnFailure = EAGAIN;

}  // namespace

Result<UniqueFd> SealCommandLine(const sandbox::CommandLine& command) {
  UniqueFd file(memfd_create("landgate-session", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return SystemError("memfd_create", errno);
  if (Status ok = WriteAll(file, sandbox::EncodeCommandLine(command)); !ok) return Forward(ok);
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) <
      0) {
    return SystemError("F_ADD_SEALS", errno);
  }
  if (lseek(file.get(), 0, SEEK_SET) < 0) return SystemError("lseek", errno);
  return file;
}

ExecSession::ExecSession(const Services& services, ContainerPtr container, UniqueFd kept)
    : services_(services), container_(std::move(container)), command_line_(std::move(kept)) {}

void ExecSession::Turn(Call& call, pid_t process) {
  if (!call.MaySlow()) return Deny(call, EAGAIN, AuditReason::kBusy, "too many calls are in hand");
  std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
  while (!lock.try_lock()) {
    if (!call.notification.StillValid()) return Drop(call);
    std::this_thread::sleep_for(kLookAgain);
  }
  // Opened while the thread waits for its answer, so it can be no other process's.
  Result<UniqueFd> pidfd = PidfdOpen(process);
  const Result<sandbox::ObjectId> before = sandbox::IdentifyFile(Proc(process, "exe"));
  if (!call.notification.StillValid()) return Drop(call);
  if (!pidfd || !before) {
    return Deny(call, kOwnFailure, AuditReason::kBackendError,
                (pidfd ? before.error() : pidfd.error()).message);
  }
  std::string program;
  if (const std::optional<Refusal> refusal = Prepare(call, process, *pidfd, &program)) {
    if (refusal->logged) return Deny(call, refusal->error_number, refusal->reason, refusal->why);
    (void)std::move(call.notification).Deny(refusal->error_number);
    return;
  }
  if (!call.notification.StillValid()) return Drop(call);
  Region& region = call.listener.region();
  if (!StartWatch(region, process, std::move(*pidfd), *before)) {
    return Deny(call, kOwnFailure, AuditReason::kBackendError, "no thread could be made");
  }
  AuditRecord record = RecordOf(process);  // before it is something else
  record.verdict = AuditVerdict::kAllow;
  record.reason = AuditReason::kRule;
  record.requested_path = std::move(program);
  record.message = "confined";
  if (std::move(call.notification)
          .Let(Continue::NothingMutable(
              "the runtime's execve of the launcher: its memory is out of "
              "the reach of every process of the container")) == Answered::kGone) {
    watch_.request_stop();
    return;
  }
  Log(std::move(record));
}

// The caller has gone, or makes the same call again and finds what has been done for it.
void ExecSession::Drop(Call& call) {
  (void)std::move(call.notification).Deny(EPERM);  // to nobody
}

// What is read and written here belongs to `process` as long as `pidfd` says that it lives, whether
// the call is still waiting or is being made again.
std::optional<ExecSession::Refusal> ExecSession::Prepare(Call& call, pid_t process,
                                                         BorrowedFd pidfd, std::string* program) {
  const pid_t thread = static_cast<pid_t>(call.request.pid);
  const auto& arguments = call.request.data.args;
  const ExecveArguments from{arguments[0], arguments[1], arguments[2]};
  Region& region = call.listener.region();

  if (const Status launcher = CompareLauncher(thread, container_->registration); !launcher) {
    return Refusal{EPERM, AuditReason::kVerificationFailed, launcher.error().message};
  }
  const auto path = ReadExecvePath(process, from);
  if (!path) return Refusal{path.error(), AuditReason::kMalformed, "", false};
  if (region.session.load() == kCommandLineKept) {
    if (!command_line_.valid()) {
      return Refusal{EIO, AuditReason::kBackendError,
                     "the session's command line was lost with the agent's holder"};
    }
    // The same call again (a signal had taken the caller away), or what a predecessor had written.
    if (*path == sandbox::kLauncherPath) {
      *program = program_;
      return std::nullopt;
    }
    // Either the predecessor died before it wrote, or the runtime tries another program after the
    // first one failed. But a path that lies across two pages could be half written.
    if (from.path % kPage + LauncherBytes().size() > kPage) {
      return Refusal{EIO, AuditReason::kBackendError,
                     "the session's path can't be told from a half written one"};
    }
  }
  // The kernel's own answer, which lets a runtime go on to the next element of PATH.
  if (const int error = LookForProgram(thread, *path)) {
    return Refusal{error, AuditReason::kNone, "", false};
  }
  const auto command = ReadExecve(process, from);
  if (!command) return Refusal{command.error(), AuditReason::kMalformed, "", false};
  if (HasEnded(pidfd)) return Refusal{EPERM, AuditReason::kNone, "", false};
  *program = program_ = command->path;
  if (Status kept = KeepCommandLine(call.listener, *command); !kept) {
    return Refusal{kOwnFailure, AuditReason::kBackendError, kept.error().message};
  }
  return Rewrite(process, from.path);
}

// In the holder before anything is written: whoever dies after this leaves behind what is needed.
Status ExecSession::KeepCommandLine(Listener& listener, const sandbox::CommandLine& command) {
  Result<UniqueFd> file = SealCommandLine(command);
  if (!file) return Forward(file);
  Region& region = listener.region();
  // Kept anew after a first attempt: until it is, a successor must not take the old for the new.
  region.session.store(kNothingKept);
  if (Holder* holder = services_.holder) {
    if (Status kept = holder->Keep(Kept::kSession, listener.key(), "", *file); !kept) return kept;
  }
  command_line_ = std::move(*file);
  region.session.store(kCommandLineKept);
  return {};
}

std::optional<ExecSession::Refusal> ExecSession::Rewrite(pid_t process, uint64_t path) {
  const std::string& wanted = LauncherBytes();
  if (const auto written = WriteBytes(process, path, wanted); !written) {
    return Refusal{EPERM, AuditReason::kBackendError,
                   "the runtime's memory can't be written (errno " +
                       std::to_string(ErrnoOf(written.error())) + ")"};
  }
  std::array<char, 16> there{};
  const std::span<char> bytes(there.data(), wanted.size());
  if (!ReadBytes(process, path, std::as_writable_bytes(bytes)) ||
      std::string_view(bytes.data(), bytes.size()) != wanted) {
    return Refusal{EPERM, AuditReason::kVerificationFailed,
                   "what was written into the runtime's memory does not stand there"};
  }
  return std::nullopt;
}

void ExecSession::HandOver(Call& call) {
  Listener& listener = call.listener;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!command_line_.valid()) {
    listener.Advance(Phase::kLauncher);
    // It goes on with the arguments that it has, confined all the same, and mostly can't.
    return Deny(call, ENOSYS, AuditReason::kBackendError, "the session's command line is not here");
  }
  // Not before it is delivered: a launcher that a signal took away asks again.
  if (std::move(call.notification).ReturnFd(command_line_, true) == Answered::kGone) return;
  listener.region().session.store(kHandedOver);
  listener.Advance(Phase::kLauncher);
  command_line_.Reset();
  if (Holder* holder = services_.holder) holder->Drop(Kept::kSession, listener.key());
}

void ExecSession::Resume(Region& region) {
  const pid_t process = region.process.load();
  if (process <= 0 || region.session.load() != kCommandLineKept ||
      static_cast<Phase>(region.phase.load()) != Phase::kRuntime) {
    return;
  }
  Result<UniqueFd> pidfd = PidfdOpen(process);
  if (!pidfd) return;  // it has ended
  const std::lock_guard<std::mutex> lock(mutex_);
  // Without a thread: the launcher can ask all the same, and what is not the launcher gets nothing.
  (void)StartWatch(region, process, std::move(*pidfd), std::nullopt);
}

bool ExecSession::StartWatch(Region& region, pid_t process, UniqueFd pidfd,
                             std::optional<sandbox::ObjectId> before) {
  if (watching_.load() && !watch_.get_stop_token().stop_requested()) return true;
  watch_ = std::jthread();  // has ended or does so now
  watching_.store(true);
  try {
    watch_ = std::jthread(
        [this, &region, process, fd = std::move(pidfd), before](const std::stop_token& stop) {
          Watch(region, process, fd, before, stop);
          watching_.store(false);
        });
  } catch (const std::system_error&) {
    watching_.store(false);
    return false;
  }
  return true;
}

void ExecSession::Watch(Region& region, pid_t process, BorrowedFd pidfd,
                        const std::optional<sandbox::ObjectId>& before,
                        const std::stop_token& stop) {
  const Turned turned{process, pidfd, container_->registration.launcher, before};
  const auto asked = [&region, &stop] {
    return stop.stop_requested() || static_cast<Phase>(region.phase.load()) != Phase::kRuntime;
  };
  std::string_view why;
  if (WatchTurn(turned, kTurnPatience, asked, &why) != TurnEnd::kKilled) return;
  region.denied.fetch_add(1);
  AuditRecord record = RecordOf(process);
  record.verdict = AuditVerdict::kDeny;
  record.reason = AuditReason::kVerificationFailed;
  record.message = "killed: " + std::string(why);
  Log(std::move(record));
}

void ExecSession::Deny(Call& call, int error_number, AuditReason reason, std::string_view why) {
  AuditRecord record = RecordOf(static_cast<pid_t>(call.request.pid));
  record.verdict = AuditVerdict::kDeny;
  record.reason = reason;
  record.error_number = error_number;
  record.message = why;
  if (std::move(call.notification).Deny(error_number) == Answered::kGone) return;
  Log(std::move(record));
}

void ExecSession::Kill(Call& call, pid_t process, std::string_view why) {
  // First the signal, then the answer: it never returns to its own code.
  const Result<UniqueFd> pidfd = PidfdOpen(process);
  if (pidfd && call.notification.StillValid()) (void)PidfdSendSignal(*pidfd, SIGKILL);
  Deny(call, EPERM, AuditReason::kVerificationFailed, "killed: " + std::string(why));
}

AuditRecord ExecSession::RecordOf(pid_t thread) const {
  AuditRecord record;
  record.event = AuditEvent::kExecSession;
  record.container = container_->id();
  record.pod = container_->registration.pod;
  record.syscall = "execve";
  if (services_.audit == nullptr) return record;
  if (std::optional<Caller> caller = DescribeCaller(thread)) {
    record.pid = caller->tgid;
    record.nspid = caller->nspid;
    record.comm = std::move(caller->comm);
    record.exe = std::move(caller->exe);
  }
  return record;
}

void ExecSession::Log(AuditRecord record) {
  if (services_.audit != nullptr) services_.audit->Write(std::move(record));
}

}  // namespace landgate::agent
