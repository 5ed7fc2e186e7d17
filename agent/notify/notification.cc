#include "agent/notify/notification.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include <atomic>
#include <string>
#include <utility>

#include "base/syscalls.h"

namespace landgate::agent {
namespace {

// The id is the first member of struct seccomp_notif. Atomic, because the kernel's copy, our
// clearing and a look from another thread may meet.
uint64_t* IdOf(const Slot& slot) {
  static_assert(offsetof(struct seccomp_notif, id) == 0);
  return reinterpret_cast<uint64_t*>(const_cast<unsigned char*>(slot.notification));
}

// EINTR: the ioctl waits for a mutex of the listener interruptibly.
int Respond(BorrowedFd listener, const seccomp_notif_resp& response) {
  int failed;
  do {
    failed = SeccompRespond(listener, response);
  } while (failed == EINTR);
  return failed;
}

Answered Answer(BorrowedFd listener, const seccomp_notif_resp& response) {
  // Whatever else the kernel may say (EINPROGRESS: somebody has answered on our behalf), the
  // caller is not waiting for this answer any more.
  return Respond(listener, response) == 0 ? Answered::kDelivered : Answered::kGone;
}

seccomp_notif_resp Denial(uint64_t id, int error_number) {
  seccomp_notif_resp response{};
  response.id = id;
  response.error = -(error_number > 0 ? error_number : EPERM);
  return response;
}

seccomp_notif_resp Continuation(uint64_t id) {
  seccomp_notif_resp response{};
  response.id = id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  return response;
}

}  // namespace

Status CheckNotificationSizes() {
  Result<seccomp_notif_sizes> sizes = SeccompNotifySizes();
  if (!sizes) {
    return Impossible("this kernel has no seccomp user notification (Linux 5.0): " +
                      sizes.error().message);
  }
  // A smaller response than ours: an older kernel, whose members all the same are ours.
  if (sizes->seccomp_notif > kNotificationBytes ||
      sizes->seccomp_notif_resp > sizeof(seccomp_notif_resp) ||
      sizes->seccomp_data > sizeof(seccomp_data)) {
    return Impossible("this kernel's notifications take " + std::to_string(sizes->seccomp_notif) +
                      " and " + std::to_string(sizes->seccomp_notif_resp) +
                      " bytes, more than this agent knows: a newer landgate-agent is needed");
  }
  return {};
}

void SetSyncWakeUp(BorrowedFd listener) { (void)SeccompSetSyncWakeUp(listener); }

int Receive(BorrowedFd listener, Slot& slot) { return SeccompReceive(listener, slot.notification); }

bool StillWaits(BorrowedFd listener, uint64_t id) { return SeccompIdValid(listener, id) == 0; }

uint64_t IdIn(const Slot& slot) {
  return std::atomic_ref<uint64_t>(*IdOf(slot)).load(std::memory_order_relaxed);
}

void Clear(Slot& slot) {
  std::atomic_ref<uint64_t>(*IdOf(slot)).store(0, std::memory_order_release);
  memset(slot.notification + sizeof(uint64_t), 0, sizeof slot.notification - sizeof(uint64_t));
}

PendingNotification::PendingNotification(BorrowedFd listener, Slot& slot, SlotOwner* owner)
    : listener_(listener), slot_(&slot), owner_(owner) {}

PendingNotification::PendingNotification(PendingNotification&& other) noexcept
    : listener_(other.listener_),
      slot_(std::exchange(other.slot_, nullptr)),
      owner_(other.owner_) {}

PendingNotification::~PendingNotification() {
  if (slot_ != nullptr) (void)std::move(*this).Deny(EPERM);
}

const struct seccomp_notif& PendingNotification::request() const {
  return *reinterpret_cast<const struct seccomp_notif*>(slot_->notification);
}

bool PendingNotification::StillValid() const {
  return slot_ != nullptr && StillWaits(listener_, IdIn(*slot_));
}

Answered PendingNotification::Send(const seccomp_notif_resp& response, Outcome outcome) {
  outcome.answered = Answer(listener_, response);
  Clear(*slot_);
  Finish(outcome);
  return outcome.answered;
}

void PendingNotification::Finish(const Outcome& outcome) {
  Slot* const slot = std::exchange(slot_, nullptr);
  if (owner_ != nullptr) owner_->Done(*slot, outcome);
}

Answered PendingNotification::Deny(int error_number) && {
  if (slot_ == nullptr) return Answered::kGone;
  const seccomp_notif_resp response = Denial(IdIn(*slot_), error_number);
  return Send(response, {Outcome::kDenied, -response.error});
}

Answered PendingNotification::Return(int64_t value) && {
  if (slot_ == nullptr) return Answered::kGone;
  seccomp_notif_resp response{};
  response.id = IdIn(*slot_);
  response.val = value;
  return Send(response, {Outcome::kReturned});
}

Answered PendingNotification::Let(const Continue&) && {
  if (slot_ == nullptr) return Answered::kGone;
  return Send(Continuation(IdIn(*slot_)), {Outcome::kContinued});
}

Answered PendingNotification::ReturnFd(BorrowedFd fd, bool close_on_exec) && {
  if (slot_ == nullptr) return Answered::kGone;
  seccomp_notif_addfd request{};
  request.id = IdIn(*slot_);
  request.flags = SECCOMP_ADDFD_FLAG_SEND;
  request.srcfd = static_cast<uint32_t>(fd.get());
  request.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  // Not repeated on EINTR: by then the kernel may have taken it for answered. Threads that come
  // here have their signals blocked.
  const int number = SeccompAddFd(listener_, request);
  if (number < 0) return std::move(*this).Deny(-number);
  Clear(*slot_);
  Finish({Outcome::kReturnedFd});
  return Answered::kDelivered;
}

void PendingNotification::Abandon() && {
  if (slot_ != nullptr) Finish({Outcome::kAbandoned});
}

Answered DenyOnBehalf(BorrowedFd listener, uint64_t id, int error_number) {
  return Answer(listener, Denial(id, error_number));
}

Answered LetOnBehalf(BorrowedFd listener, uint64_t id, const Continue&) {
  return Answer(listener, Continuation(id));
}

}  // namespace landgate::agent
