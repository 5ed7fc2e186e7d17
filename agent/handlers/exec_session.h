// One exec session of a container whose hooks patched its config.json: its runtime was about to
// execute the session's program, and executes the launcher instead.
//
//   turn       the runtime's execve is notified: launcher and plan are compared with what was
//              registered, path, arguments and environment are copied and kept, "/dev/lg" is
//              written over the path in the runtime's memory, and the call goes on. Go's runtime
//              interrupts the call every ten milliseconds, and it is notified again: what has been
//              done for the process by then stays done
//   watch      /proc/PID/exe must become the launcher, else the process is killed (turn_watch.h);
//              on a thread of its own, so that the listener's are free for the launcher's question
//   hand over  the launcher's marker call is answered with the memfd of the command line, once
//
// Region::session says how far this got: 0 nothing is kept, 1 kept (in the holder before the memory
// is written), 2 handed over. A successor gets the memfd and goes on from there; the notification
// itself is replayed from its slot. docs/exec-sessions.md has the whole of it.
//
// Thread-safe: notifications of one session can arrive on several threads.
#ifndef LANDGATE_AGENT_HANDLERS_EXEC_SESSION_H_
#define LANDGATE_AGENT_HANDLERS_EXEC_SESSION_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "agent/audit.h"
#include "agent/container.h"
#include "agent/notify/listener.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/command_line.h"

namespace landgate::agent {

// Region::session
inline constexpr uint32_t kNothingKept = 0;
inline constexpr uint32_t kCommandLineKept = 1;
inline constexpr uint32_t kHandedOver = 2;

// A memfd with the encoded command line that nobody can change any more.
Result<UniqueFd> SealCommandLine(const sandbox::CommandLine& command);

class ExecSession {
 public:
  // `kept`: a predecessor's memfd; not valid: none. `services` outlive the session.
  ExecSession(const Services& services, ContainerPtr container, UniqueFd kept);

  // Answers the execve of the session's `process`, which is then watched by a thread of this class.
  void Turn(Call& call, pid_t process);
  // Answers the launcher's marker call.
  void HandOver(Call& call);
  // Goes on watching a process that a predecessor had turned.
  void Resume(Region& region);

  // For everything else that happens to a session: counts and logs.
  void Deny(Call& call, int error_number, AuditReason reason, std::string_view why);
  // The call is not waiting any more: no answer reaches anybody.
  static void Drop(Call& call);
  // Nothing that may run there runs: the caller is denied and its process ends.
  void Kill(Call& call, pid_t process, std::string_view why);
  AuditRecord RecordOf(pid_t thread) const;
  void Log(AuditRecord record);

 private:
  struct Refusal {
    int error_number = 0;
    AuditReason reason = AuditReason::kNone;
    std::string why;
    bool logged = true;  // false: nothing but what the kernel would have said
  };
  // The whole turn but for the last answer; nothing: it may go on.
  std::optional<Refusal> Prepare(Call& call, pid_t process, BorrowedFd pidfd, std::string* program);
  Status KeepCommandLine(Listener& listener, const sandbox::CommandLine& command);
  std::optional<Refusal> Rewrite(pid_t process, uint64_t path);
  bool StartWatch(Region& region, pid_t process, UniqueFd pidfd,
                  std::optional<sandbox::ObjectId> before);  // with mutex_
  void Watch(Region& region, pid_t process, BorrowedFd pidfd,
             const std::optional<sandbox::ObjectId>& before, const std::stop_token& stop);

  const Services services_;
  const ContainerPtr container_;
  std::mutex mutex_;
  UniqueFd command_line_;  // until it is handed over
  std::string program_;    // of it, for the log
  std::atomic<bool> watching_{false};
  std::jthread watch_;  // last: it uses the others until it has ended
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_EXEC_SESSION_H_
