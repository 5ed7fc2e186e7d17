// Enforce mode: the execve and execveat of a container's processes, and the launcher's question.
// Read who asks, decide (phases.h), act (exec_session.h).
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "agent/handlers/caller.h"
#include "agent/handlers/exec_session.h"
#include "agent/handlers/handlers.h"
#include "agent/handlers/phases.h"
#include "sandbox/command_line.h"
#include "sandbox/object.h"

namespace landgate::agent {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kNativeArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kNativeArch = AUDIT_ARCH_AARCH64;
#else
#error "which AUDIT_ARCH_ is this machine's?"
#endif

struct Numbered {
  uint32_t arch;
  int number;
  Request request;
};
// The notified calls of the native table, and of the others that this machine also runs, where they
// have the numbers of another call.
constexpr std::array kCalls = {
    Numbered{kNativeArch, SYS_execve, Request::kExecve},
    Numbered{kNativeArch, SYS_execveat, Request::kExecveat},
    Numbered{kNativeArch, static_cast<int>(sandbox::kMarkerSyscall), Request::kMarker},
#if defined(__x86_64__)
    Numbered{AUDIT_ARCH_X86_64, 0x40000000 + 520, Request::kExecve},  // x32
    Numbered{AUDIT_ARCH_X86_64, 0x40000000 + 545, Request::kExecveat},
    Numbered{AUDIT_ARCH_X86_64, 0x40000000 + 180, Request::kMarker},
    Numbered{AUDIT_ARCH_I386, 11, Request::kExecve},
    Numbered{AUDIT_ARCH_I386, 358, Request::kExecveat},
    Numbered{AUDIT_ARCH_I386, 169, Request::kMarker},
#elif defined(__aarch64__)
    Numbered{AUDIT_ARCH_ARM, 11, Request::kExecve},
    Numbered{AUDIT_ARCH_ARM, 387, Request::kExecveat},
    Numbered{AUDIT_ARCH_ARM, 169, Request::kMarker},
#endif
};
constexpr size_t kNativeCalls = 3;

Request RequestOf(const struct seccomp_data& data) {
  for (const Numbered& call : kCalls) {
    if (call.arch == data.arch && call.number == data.nr) return call.request;
  }
  return Request::kOther;
}

bool IsNative(const struct seccomp_data& data) {
  for (size_t i = 0; i < kNativeCalls; ++i) {
    if (kCalls[i].arch == data.arch && kCalls[i].number == data.nr) return true;
  }
  return false;
}

bool IsMarker(const struct seccomp_data& data) {
  return data.args[0] == sandbox::kMarker && data.args[1] == sandbox::kMarkerVersion &&
         data.args[2] == 0;
}

class ExecHandler {
 public:
  ExecHandler(const Services& services, ContainerPtr container, ListenerOrigin origin)
      : container_(std::move(container)),
        kind_(origin.kind),
        named_(origin.kind == ListenerKind::kMain ? container_->registration.pid : origin.process),
        session_(services, container_, std::move(origin.session)) {
    // A predecessor may have let the runtime's execve go and died before the launcher asked.
    if (origin.region != nullptr) session_.Resume(*origin.region);
  }

  void Handle(Call& call) {
    const struct seccomp_data& data = call.request.data;
    Seen seen;
    seen.listener = kind_;
    seen.sessions = container_->registration.exec_sessions;
    seen.phase = call.listener.phase();
    seen.request = RequestOf(data);
    seen.native = IsNative(data);
    // Anything else that is called by this number is ENOSYS, as with every kernel.
    if (seen.request == Request::kMarker && !IsMarker(data)) {
      (void)std::move(call.notification).Deny(ENOSYS);
      return;
    }
    pid_t process = 0;
    if (!IsWorkload(seen.phase)) {
      const Status told = Look(call, &seen, &process);
      if (!told) {
        if (!call.notification.StillValid()) return ExecSession::Drop(call);
        return session_.Deny(call, EPERM, AuditReason::kBackendError,
                             "who asks can't be told: " + told.error().message);
      }
    }
    Act(call, Decide(seen), process);
  }

 private:
  // Who makes the call. What /proc says of a thread is of this very one, because it waits for its
  // answer; StillValid afterwards tells that it did.
  Status Look(Call& call, Seen* seen, pid_t* process) {
    const pid_t thread = static_cast<pid_t>(call.request.pid);
    const std::optional<Caller> caller = IdentifyCaller(thread);
    if (!caller) return Refuse("/proc/" + std::to_string(thread) + "/status can't be read");
    Result<sandbox::ObjectId> exe =
        sandbox::IdentifyFile("/proc/" + std::to_string(thread) + "/exe");
    if (!exe) return Forward(exe);
    if (!call.notification.StillValid()) return Refuse("it has gone");
    *process = caller->tgid;
    seen->own_process = caller->tgid == OwnProcess(call.listener.region(), caller->tgid);
    seen->launcher = *exe == container_->registration.launcher;
    seen->kept = call.listener.region().session.load() == kCommandLineKept;
    return {};
  }

  // The process that got the filter. Where its runtime did not say, it is the first that is seen.
  pid_t OwnProcess(Region& region, pid_t seen) const {
    int32_t none = 0;
    const int32_t first = named_ != 0 ? named_ : seen;
    return region.process.compare_exchange_strong(none, first) ? first : none;
  }

  void Act(Call& call, const Step& step, pid_t process) {
    Listener& listener = call.listener;
    switch (step.act) {
      case Act::kContinueTrusted:
        // Before the answer: what comes after it is judged by the new phase.
        listener.Advance(step.next);
        (void)std::move(call.notification)
            .Let(Continue::NothingMutable("the runtime or the launcher, which no process of the "
                                          "container can write to"));
        return;
      case Act::kContinueFloor:
        (void)std::move(call.notification)
            .Let(Continue::FloorEnforces("Landlock's rules on executing and reading"));
        return;
      case Act::kContinueUnconfined:
        return LetUnconfined(call, step, process);
      case Act::kNotImplemented:
        listener.Advance(step.next);
        (void)std::move(call.notification).Deny(ENOSYS);
        return;
      case Act::kTurn:
        return session_.Turn(call, process);
      case Act::kHandOver:
        return session_.HandOver(call);
      case Act::kDeny:
        return session_.Deny(
            call, step.error_number,
            step.error_number == EACCES ? AuditReason::kRule : AuditReason::kUnsupported, step.why);
      case Act::kDenyAndKill:
        return session_.Kill(call, process, step.why);
    }
  }

  void LetUnconfined(Call& call, const Step& step, pid_t process) {
    Listener& listener = call.listener;
    listener.Advance(step.next);
    AuditRecord record = session_.RecordOf(process);
    record.verdict = AuditVerdict::kAllow;
    record.reason = AuditReason::kExecSessionUnconfined;
    record.message = step.why;
    (void)std::move(call.notification)
        .Let(Continue::NothingMutable("the policy lets exec sessions run unconfined"));
    session_.Log(std::move(record));
  }

  const ContainerPtr container_;
  const ListenerKind kind_;
  const pid_t named_;  // by the runtime; 0: not
  ExecSession session_;
};

}  // namespace

Handler MakeExecHandler(const Services& services, const ContainerPtr& container,
                        ListenerOrigin origin) {
  auto handler = std::make_shared<ExecHandler>(services, container, std::move(origin));
  return [handler](Call& call) { handler->Handle(call); };
}

}  // namespace landgate::agent
