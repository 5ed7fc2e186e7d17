#include "agent/notify/listener.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include "agent/limits.h"
#include "agent/notify/keeper.h"
#include "agent/notify/metrics.h"
#include "agent/notify/read_watch.h"
#include "agent/notify/receivers.h"

namespace landgate::agent {
namespace {

static_assert(kSlotsPerListener == 64, "slots in use are the bits of a word");
static_assert(kMaxInFlightPerListener < kSlotsPerListener);

constexpr uint64_t Bit(uint32_t slot) { return uint64_t{1} << slot; }

// Work::reading_since of a read that the keeper answers for, and then has. No times of
// MonotonicCoarse.
constexpr uint64_t kExpiring = ~uint64_t{0} - 1;
constexpr uint64_t kExpired = ~uint64_t{0};
constexpr uint64_t kMemoryDeadlineNs =
    static_cast<uint64_t>(std::chrono::nanoseconds(kMemoryDeadline).count());

// After an error of receive that should not be: EFAULT, ENOMEM, a security module's EPERM.
constexpr int kErrorPauseMs = 20;

// Counts for listeners that were started without Metrics.
Metrics& Uncounted() {
  static Metrics metrics;
  return metrics;
}

bool HungUp(BorrowedFd listener) {
  pollfd state{listener.get(), POLLIN, 0};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0;
}

}  // namespace

struct Listener::Impl final : SlotOwner, Receivers::Duty, Watched {
  // What a thread has in hand; beyond the slot, because it is of this process alone.
  struct alignas(32) Work {
    std::atomic<uint64_t> id{0};
    std::atomic<uint32_t> pid{0};
    // When the read of memory began that the thread is in (MonotonicCoarse); 0: in none.
    std::atomic<uint64_t> reading_since{0};
    uint64_t received = 0;  // MonotonicNow
  };

  // A thread of this listener that handles a notification.
  struct Handling final : ReadWatch {
    Handling(Impl& of, Receivers::Turn& its_turn, uint32_t its_slot)
        : impl(of), turn(its_turn), slot(its_slot) {
      read_watch = this;
      current = this;
    }
    ~Handling() {
      read_watch = nullptr;
      current = nullptr;
    }
    Handling(const Handling&) = delete;
    Handling& operator=(const Handling&) = delete;

    bool BeginRead() override { return MaySlow() && impl.BeginRead(slot); }
    bool EndRead() override { return impl.EndRead(slot); }
    bool MaySlow() {
      if (!asked) allowed = impl.MaySlow(turn, slot);
      asked = true;
      return allowed;
    }

    Impl& impl;
    Receivers::Turn& turn;
    const uint32_t slot;
    bool asked = false, allowed = false;
    static thread_local Handling* current;
  };

  Impl(const Services& with, UniqueFd listener, uint32_t region_index, ContainerPtr of,
       Handler handle, std::function<void(Listener&)> when_ended)
      : services(with),
        fd(std::move(listener)),
        index(region_index),
        region(with.area->At(region_index)),
        container(std::move(of)),
        handler(std::move(handle)),
        ended(std::move(when_ended)),
        metrics(with.metrics != nullptr ? *with.metrics : Uncounted()),
        counters(metrics.ForListener(region_index)),
        poll_first(with.always_poll || !ReceiveEndsWithLastProcess()),
        receivers(*this) {
    for (uint32_t i = 0; i < kSlotsPerListener; ++i)
      if (IdIn(region.slots[i]) != 0) replay |= Bit(i);
    used.store(replay);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // Receivers::Duty
  bool Next(Receivers::Turn& turn) override;
  void ThreadBegins() override {
    Metrics::Shard::Add(counters.threads_started);
    metrics.threads.fetch_add(1, std::memory_order_relaxed);
  }
  void ThreadEnds() override { metrics.threads.fetch_sub(1, std::memory_order_relaxed); }
  void StoodIn() override { Metrics::Shard::Add(counters.stood_in); }
  void ThreadsGone() override {
    EndIf([this] { threads_gone = true; });
  }
  // SlotOwner
  void Done(Slot& slot, const Outcome& outcome) override;
  // Watched
  bool Check(uint64_t now) override;

  uint32_t TakeSlot();
  bool TakeReplay(uint32_t* slot);
  bool ReceiveInto(Slot& slot);
  void Handle(Receivers::Turn& turn, uint32_t slot);
  void RefuseInvisible(PendingNotification notification);
  bool MaySlow(Receivers::Turn& turn, uint32_t slot);
  bool BeginRead(uint32_t slot);
  bool EndRead(uint32_t slot);
  void Expire(uint32_t slot, uint64_t since);
  void Release(uint32_t slot);
  template <class Change>
  void EndIf(const Change& change);
  bool BeWatched() { return watched.load() || Watch({self, static_cast<Watched*>(this)}); }
  bool AuditMode() const {
    return container != nullptr && container->registration.mode == oci::Mode::kAudit;
  }
  void Audit(AuditReason reason, AuditVerdict verdict, int error_number, uint32_t pid,
             const char* message);

  const Services services;
  const UniqueFd fd;
  const uint32_t index;
  Region& region;
  const ContainerPtr container;
  const Handler handler;
  const std::function<void(Listener&)> ended;
  Metrics& metrics;
  Metrics::Shard& counters;
  const bool poll_first;

  alignas(64) std::atomic<uint64_t> used{0};  // slots that are received into or in hand
  std::array<Work, kSlotsPerListener> work;
  uint64_t replay = 0;  // a predecessor's slots; of the thread with the role
  bool invisible_reported = false;
  Receivers receivers;

  std::mutex end_mutex;
  std::condition_variable threads_gone_told;
  bool threads_gone = false;
  bool hung_up = false;  // of the thread with the role; else after threads_gone
  // Set while threads run or something is in hand.
  std::shared_ptr<Listener> self;
};

thread_local Listener::Impl::Handling* Listener::Impl::Handling::current = nullptr;

// --- receiving: by the thread with the role -----------------------------------------------------

bool Listener::Impl::Next(Receivers::Turn& turn) {
  uint32_t slot;
  if (TakeReplay(&slot)) {
    Handle(turn, slot);
    return true;
  }
  if (receivers.stopping()) return false;
  slot = TakeSlot();
  if (!ReceiveInto(region.slots[slot])) {
    Release(slot);
    return false;
  }
  Handle(turn, slot);
  return true;
}

// The lowest, so that the pages of the others stay untouched. Slots are given back by any thread
// and taken by the one with the role alone.
uint32_t Listener::Impl::TakeSlot() {
  uint64_t taken = used.load();
  // All are in hand only if handlers keep more than MaySlow lets them.
  for (; taken == ~uint64_t{0}; taken = used.load()) (void)poll(nullptr, 0, 1);
  const auto slot = static_cast<uint32_t>(std::countr_one(taken));
  used.fetch_or(Bit(slot));
  return slot;
}

bool Listener::Impl::TakeReplay(uint32_t* slot) {
  while (replay != 0) {
    *slot = static_cast<uint32_t>(std::countr_zero(replay));
    replay &= ~Bit(*slot);
    Slot& left = region.slots[*slot];
    if (StillWaits(fd, IdIn(left))) {
      Metrics::Shard::Add(counters.replayed);
      return true;
    }
    Metrics::Shard::Add(counters.replayed_stale);
    Clear(left);
    Release(*slot);
  }
  return false;
}

bool Listener::Impl::ReceiveInto(Slot& slot) {
  while (!receivers.stopping()) {
    if (poll_first) {
      pollfd state{fd.get(), POLLIN, 0};
      if (poll(&state, 1, -1) < 0) continue;  // EINTR: stopping
      if ((state.revents & POLLIN) == 0) {
        hung_up = true;
        return false;
      }
    }
    const int failed = Receive(fd, slot);
    if (failed == 0) return true;
    if (failed == EINTR) continue;
    // The caller was interrupted before we got to it; or there is nobody left.
    if (HungUp(fd)) {
      hung_up = true;
      return false;
    }
    if (failed == ENOENT) continue;
    Metrics::Shard::Add(counters.receive_errors);
    Clear(slot);  // EINVAL: the kernel found something in it
    (void)poll(nullptr, 0, kErrorPauseMs);
  }
  return false;
}

// --- handling -----------------------------------------------------------------------------------

void Listener::Impl::Handle(Receivers::Turn& turn, uint32_t slot) {
  Work& mine = work[slot];
  mine.received = MonotonicNow();
  Metrics::Shard::Add(counters.received);
  Handling handling(*this, turn, slot);
  PendingNotification notification(fd, region.slots[slot], this);
  mine.id.store(notification.request().id, std::memory_order_relaxed);
  mine.pid.store(notification.request().pid, std::memory_order_relaxed);
  if (notification.request().pid == 0) {
    RefuseInvisible(std::move(notification));
    return;
  }
  Call call{notification, notification.request(), *self};
  try {
    handler(call);
  } catch (...) {
    // Out of memory, most likely. The notification denies as it goes.
    Metrics::Shard::Add(counters.failed);
  }
}

// The caller lives in a pid namespace that we can't see: whatever we would look at for it would be
// somebody else's.
void Listener::Impl::RefuseInvisible(PendingNotification notification) {
  Metrics::Shard::Add(counters.invisible);
  if (!std::exchange(invisible_reported, true)) {
    Audit(AuditReason::kUnsupported, AuditVerdict::kDeny, EPERM, 0,
          "the caller can't be seen from the agent's pid namespace: the agent must run in the "
          "host's (hostPID); told once per listener");
  }
  (void)std::move(notification).Deny(EPERM);
}

void Listener::Impl::Done(Slot& slot, const Outcome& outcome) {
  const auto at = static_cast<uint32_t>(&slot - region.slots);
  if (outcome.answered == Answered::kGone) {
    Metrics::Shard::Add(counters.gone);
  } else {
    switch (outcome.kind) {
      case Outcome::kContinued:
        Metrics::Shard::Add(counters.continued);
        break;
      case Outcome::kDenied:
        Metrics::Shard::Add(counters.denied);
        // ENOSYS is no decision: "there is no such call" (the launcher's marker, a foreign
        // profile).
        if (outcome.error_number != ENOSYS) region.denied.fetch_add(1, std::memory_order_relaxed);
        break;
      case Outcome::kReturned:
        Metrics::Shard::Add(counters.returned);
        break;
      case Outcome::kReturnedFd:
        Metrics::Shard::Add(counters.returned_fd);
        break;
      case Outcome::kAbandoned:
        break;
    }
  }
  counters.Answered(MonotonicNow() - work[at].received);
  Release(at);
}

void Listener::Impl::Release(uint32_t slot) {
  // A thread of ours counts itself, so the end waits for it; others must not let go and look after.
  if (Handling::current != nullptr && &Handling::current->impl == this) {
    used.fetch_and(~Bit(slot));
  } else {
    EndIf([this, slot] { used.fetch_and(~Bit(slot)); });
  }
}

// Makes a change that may be the last thing that was waited for.
template <class Change>
void Listener::Impl::EndIf(const Change& change) {
  std::shared_ptr<Listener> last;
  {
    const std::lock_guard lock(end_mutex);
    change();
    if (threads_gone && used.load() == 0) {
      metrics.listeners.fetch_sub(1, std::memory_order_relaxed);
      last = std::move(self);
    }
    threads_gone_told.notify_all();
  }
  if (last != nullptr && hung_up && !receivers.stopping() && ended) ended(*last);
}

// --- slow work ----------------------------------------------------------------------------------

bool Listener::Impl::MaySlow(Receivers::Turn& turn, uint32_t slot) {
  // Without the role: somebody else receives already.
  if (!turn.receiving) return true;
  if (static_cast<uint32_t>(std::popcount(used.load())) > kMaxInFlightPerListener) {
    Metrics::Shard::Add(counters.busy);
    return false;
  }
  if (!receivers.MakeSlow(turn, work[slot].received) || !BeWatched()) {
    Metrics::Shard::Add(counters.busy);
    return false;
  }
  return true;
}

bool Listener::Impl::BeginRead(uint32_t slot) {
  work[slot].reading_since.store(MonotonicCoarse());
  return BeWatched();
}

bool Listener::Impl::EndRead(uint32_t slot) {
  std::atomic<uint64_t>& reading_since = work[slot].reading_since;
  uint64_t since = reading_since.load();
  if (since < kExpiring && reading_since.compare_exchange_strong(since, 0)) return true;
  // Until the keeper has done with it: the listener could end, and its region be somebody else's.
  reading_since.wait(kExpiring);
  reading_since.store(0);
  return false;
}

bool Listener::Impl::Check(uint64_t now) {
  bool busy = receivers.Check(now);
  for (uint64_t left = used.load(); left != 0; left &= left - 1) {
    const auto slot = static_cast<uint32_t>(std::countr_zero(left));
    const uint64_t since = work[slot].reading_since.load();
    if (since == 0 || since >= kExpiring) continue;
    busy = true;
    if (now > since && now - since > kMemoryDeadlineNs) Expire(slot, since);
  }
  return busy;
}

void Listener::Impl::Expire(uint32_t slot, uint64_t since) {
  // Read before the exchange: as long as `since` stands, so does the notification. The thread can't
  // leave its read before it finds kExpired.
  const uint64_t id = work[slot].id.load(std::memory_order_relaxed);
  const uint32_t pid = work[slot].pid.load(std::memory_order_relaxed);
  if (!work[slot].reading_since.compare_exchange_strong(since, kExpiring)) return;
  Metrics::Shard::Add(counters.expired);
  const bool audit_mode = AuditMode();
  const Answered answered =
      audit_mode ? LetOnBehalf(fd, id, Continue::AuditMode()) : DenyOnBehalf(fd, id, EACCES);
  if (answered == Answered::kDelivered) {
    if (audit_mode) {
      Metrics::Shard::Add(counters.continued);
    } else {
      Metrics::Shard::Add(counters.denied);
      region.denied.fetch_add(1, std::memory_order_relaxed);
    }
    Audit(AuditReason::kExpired, audit_mode ? AuditVerdict::kAudit : AuditVerdict::kDeny, EACCES,
          pid, "reading the caller's memory took longer than allowed");
  }
  work[slot].reading_since.store(kExpired);
  work[slot].reading_since.notify_one();
}

void Listener::Impl::Audit(AuditReason reason, AuditVerdict verdict, int error_number, uint32_t pid,
                           const char* message) {
  if (services.audit == nullptr) return;
  AuditRecord record;
  if (container != nullptr) {
    record.container = container->id();
    record.pod = container->registration.pod;
  }
  record.pid = static_cast<pid_t>(pid);
  record.verdict = verdict;
  record.reason = reason;
  record.error_number = error_number;
  record.message = message;
  services.audit->Write(std::move(record));
}

// --- the interface ------------------------------------------------------------------------------

bool Call::MaySlow() {
  // A handler that has gone to another thread doesn't hold anybody up.
  auto* const handling = Listener::Impl::Handling::current;
  return handling == nullptr || &handling->impl != listener.impl_.get() || handling->MaySlow();
}

Result<std::shared_ptr<Listener>> Listener::Start(const Services& services, UniqueFd fd,
                                                  uint32_t region, ContainerPtr container,
                                                  Handler handler,
                                                  std::function<void(Listener&)> ended) {
  if (Status fits = CheckNotificationSizes(); !fits) return Forward(fits);
  SetSyncWakeUp(fd);
  std::shared_ptr<Listener> listener(
      new Listener(std::make_unique<Impl>(services, std::move(fd), region, std::move(container),
                                          std::move(handler), std::move(ended))));
  listener->impl_->self = listener;
  Metrics& metrics = listener->impl_->metrics;
  metrics.listeners.fetch_add(1, std::memory_order_relaxed);
  if (!listener->impl_->receivers.Start()) {
    metrics.listeners.fetch_sub(1, std::memory_order_relaxed);
    listener->impl_->self.reset();
    return SystemError("a thread for a listener could not be made", EAGAIN);
  }
  return listener;
}

Listener::Listener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Listener::~Listener() = default;

bool Listener::Stop(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  if (!impl_->receivers.Stop(patience)) return false;
  // The last of them may still be on its way out.
  std::unique_lock lock(impl_->end_mutex);
  return impl_->threads_gone_told.wait_until(lock, until, [this] { return impl_->threads_gone; });
}

BorrowedFd Listener::fd() const { return impl_->fd; }
Region& Listener::region() { return impl_->region; }
uint32_t Listener::region_index() const { return impl_->index; }
uint64_t Listener::key() const { return impl_->region.listener.load(std::memory_order_relaxed); }
Container& Listener::container() { return *impl_->container; }
const Services& Listener::services() const { return impl_->services; }

Phase Listener::phase() {
  return static_cast<Phase>(impl_->region.phase.load(std::memory_order_acquire));
}

void Listener::Advance(Phase to) {
  const auto target = static_cast<uint32_t>(to);
  uint32_t at = impl_->region.phase.load(std::memory_order_relaxed);
  while (at < target && !impl_->region.phase.compare_exchange_weak(at, target)) {
  }
}

}  // namespace landgate::agent
