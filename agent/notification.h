// The seccomp notify fd as the kernel has it (seccomp_unotify(2)), and the one answer that every
// notification gets.
//
// Raw ioctls, because libseccomp hides their errno. ENOENT (the caller has died or was interrupted)
// and EINTR are ordinary.
#ifndef LANDGATE_AGENT_NOTIFICATION_H_
#define LANDGATE_AGENT_NOTIFICATION_H_

#include <linux/seccomp.h>

#include <cstdint>
#include <string_view>

#include "agent/area.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

// Asks the kernel once (SECCOMP_GET_NOTIF_SIZES); Impossible where its structures don't fit a slot.
Status CheckNotificationSizes();
// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (Linux 6.6); an older kernel's refusal is ignored.
void SetSyncWakeUp(BorrowedFd listener);

// A CONTINUE lets the kernel read the arguments again, so it never grants anything by itself. It
// can't be written without one of these three; grep for them is the security review.
class Continue {
 public:
  // The kernel floor enforces at least as strict a rule on the re-read arguments.
  static Continue FloorEnforces(std::string_view why) { return Continue(why); }
  // Nothing in the decision came from memory or descriptors that the workload can change.
  static Continue NothingMutable(std::string_view why) { return Continue(why); }
  // The container runs in audit mode, which has no floor and says so.
  static Continue AuditMode() { return Continue("audit mode"); }
  std::string_view why() const { return why_; }

 private:
  explicit Continue(std::string_view why) : why_(why) {}
  std::string_view why_;  // of static storage
};

// What became of an answer.
enum class Answered {
  kDelivered,
  kGone,  // ENOENT: the caller died, or a signal took it away and the call may be notified again
};

// A notification that was received into a slot and not yet answered. Move-only; answers exactly
// once; its destructor denies with EPERM. The slot is cleared after the answer, never before.
class PendingNotification {
 public:
  PendingNotification(BorrowedFd listener, Slot& slot);
  PendingNotification(PendingNotification&& other) noexcept;
  PendingNotification& operator=(PendingNotification&&) = delete;
  ~PendingNotification();

  // Valid until the answer.
  const struct seccomp_notif& request() const;
  // SECCOMP_IOCTL_NOTIF_ID_VALID: between reading the caller's memory and using what was read.
  bool StillValid() const;

  Answered Deny(int error_number) &&;
  Answered Return(int64_t value) &&;
  Answered Let(const Continue& reason) &&;
  // Installs `fd` in the caller and returns its number there, atomically
  // (SECCOMP_ADDFD_FLAG_SEND, Linux 5.14). Fails with what the kernel says (EMFILE: the caller's
  // RLIMIT_NOFILE), and the caller is then denied with that errno.
  Answered ReturnFd(BorrowedFd fd, bool close_on_exec) &&;
  // Leaves the slot as it is, for a successor that replays it. For shutdown alone.
  void Abandon() &&;

 private:
  BorrowedFd listener_;
  Slot* slot_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFICATION_H_
