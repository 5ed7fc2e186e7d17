// The seccomp notify fd as the kernel has it (seccomp_unotify(2)), and the one answer that every
// notification gets.
//
// Raw ioctls, because libseccomp hides their errno. ENOENT (the caller has died or was interrupted)
// and EINTR are ordinary.
#ifndef LANDGATE_AGENT_NOTIFY_NOTIFICATION_H_
#define LANDGATE_AGENT_NOTIFY_NOTIFICATION_H_

#include <linux/seccomp.h>

#include <cstdint>
#include <string_view>

#include "agent/notify/area.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

// Asks the kernel once (SECCOMP_GET_NOTIF_SIZES); Impossible where its structures don't fit a slot.
Status CheckNotificationSizes();
// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (Linux 6.6): the answer wakes the caller on this CPU, and so
// does the notification wake us. An older kernel's refusal is ignored.
void SetSyncWakeUp(BorrowedFd listener);
// Whether a blocked receive ends when the listener's last process does (Linux 6.11), found out by
// trying, once. Where it does not, a receive must be preceded by poll(2). The trial forks: call it
// before the process confines itself. On failure: false, which is right everywhere.
bool ReceiveEndsWithLastProcess();
// Receives into `slot`, which must be free. The errno of the ioctl, or 0. Blocks.
int Receive(BorrowedFd listener, Slot& slot);
// SECCOMP_IOCTL_NOTIF_ID_VALID: the caller still waits for an answer.
bool StillWaits(BorrowedFd listener, uint64_t id);
// The id of what is in the slot; 0: it is free.
uint64_t IdIn(const Slot& slot);
// Makes the slot free. The id goes first: a successor never takes half a notification for one.
void Clear(Slot& slot);

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

struct Outcome {
  enum Kind { kContinued, kDenied, kReturned, kReturnedFd, kAbandoned } kind;
  int error_number = 0;  // of kDenied
  Answered answered = Answered::kDelivered;
};

// Whoever gave out the slot; learns what became of it when it is free again.
class SlotOwner {
 public:
  // Called once per notification, after the slot was cleared (but kAbandoned).
  virtual void Done(Slot& slot, const Outcome& outcome) = 0;

 protected:
  ~SlotOwner() = default;
};

// A notification that was received into a slot and not yet answered. Move-only; answers exactly
// once; its destructor denies with EPERM. The slot is cleared after the answer, never before.
class PendingNotification {
 public:
  // `owner` may be null; it, the listener and the slot outlive this.
  PendingNotification(BorrowedFd listener, Slot& slot, SlotOwner* owner = nullptr);
  PendingNotification(PendingNotification&& other) noexcept;
  PendingNotification& operator=(PendingNotification&&) = delete;
  ~PendingNotification();

  // Valid until the answer.
  const struct seccomp_notif& request() const;
  // SECCOMP_IOCTL_NOTIF_ID_VALID: between reading the caller's memory and using what was read.
  bool StillValid() const;

  // `error_number` is positive; 0 or less is a mistake of the caller's and denies with EPERM.
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
  Answered Send(const seccomp_notif_resp& response, Outcome outcome);
  void Finish(const Outcome& outcome);

  BorrowedFd listener_;
  Slot* slot_;  // null: answered or moved from
  SlotOwner* owner_;
};

// Answers for a thread that can't (a read of memory past its deadline). The slot stays what it is
// until that thread returns; whichever answer comes second finds the caller gone.
Answered DenyOnBehalf(BorrowedFd listener, uint64_t id, int error_number);
Answered LetOnBehalf(BorrowedFd listener, uint64_t id, const Continue& reason);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_NOTIFICATION_H_
