#include "agent/notify/receivers.h"

#include <unistd.h>

#include "agent/notify/keeper.h"
#include "agent/notify/thread.h"

namespace landgate::agent {
namespace {

template <class Duration>
constexpr uint64_t Nanoseconds(Duration duration) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(duration).count());
}

}  // namespace

bool Receivers::Start() {
  const std::lock_guard lock(mutex_);
  if (!GiveThread(*this)) return false;
  ++threads_;
  given_ = true;
  return true;
}

bool Receivers::MakeSlow(Turn& turn, uint64_t now) {
  if (now < cautious_until_.load(std::memory_order_relaxed)) {
    if (!Start()) return false;
    turn.receiving = false;
    return true;
  }
  // Where several listeners are held up at once, Check makes the stand-ins that are missing, and
  // tries again where it can't; here is where a process without threads to spare says no.
  if (!HaveIdleThread()) return false;
  turn.slow_mark = now;
  slow_since_.store(now);
  return true;
}

void Receivers::FinishSlow(Turn& turn) {
  uint64_t mark = turn.slow_mark;
  if (mark == 0) return;
  turn.slow_mark = 0;
  // The keeper takes the role by the same exchange: one of us has it.
  if (!slow_since_.compare_exchange_strong(mark, 0)) turn.receiving = false;
}

bool Receivers::Check(uint64_t now) {
  uint64_t since = slow_since_.load();
  if (since == 0) return false;
  // A mark is younger than `now` where the thread wrote it meanwhile.
  const uint64_t elapsed = now > since ? now - since : 0;
  if (elapsed < Nanoseconds(kStandInAfter)) return true;
  const bool blocked = ThreadIsBlocked(owner_.load(std::memory_order_relaxed));
  if (!blocked && elapsed < Nanoseconds(kStandInAfterAtMost)) return true;
  const std::lock_guard lock(mutex_);
  if (offered_ == since || !GiveThread(*this)) return true;  // the next tick tries again
  ++threads_;
  offered_ = since;
  offered_of_blocked_ = blocked;
  return true;
}

// The role is taken by a thread that is there: were it given up first, nobody might come for it.
bool Receivers::TakeRole() {
  const std::lock_guard lock(mutex_);
  if (given_) {
    given_ = false;
    return true;
  }
  uint64_t since = offered_;
  if (since == 0 || !slow_since_.compare_exchange_strong(since, 0)) return false;
  if (offered_of_blocked_)
    cautious_until_.store(MonotonicNow() + Nanoseconds(kCautious), std::memory_order_relaxed);
  duty_.StoodIn();
  return true;
}

void Receivers::Run() {
  duty_.ThreadBegins();
  if (TakeRole()) {
    owner_.store(gettid(), std::memory_order_relaxed);
    Turn turn;
    while (turn.receiving && duty_.Next(turn)) FinishSlow(turn);
  }
  duty_.ThreadEnds();
  bool last;
  {
    const std::lock_guard lock(mutex_);
    last = --threads_ == 0;
    changed_.notify_all();
  }
  if (last) duty_.ThreadsGone();
}

bool Receivers::Stop(std::chrono::milliseconds patience) {
  stopping_.store(true);
  const auto until = std::chrono::steady_clock::now() + patience;
  std::unique_lock lock(mutex_);
  while (threads_ > 0 && std::chrono::steady_clock::now() < until) {
    // Again and again: a signal just before the receive is lost.
    if (const pid_t owner = owner_.load(std::memory_order_relaxed); owner != 0) SignalThread(owner);
    (void)changed_.wait_for(lock, std::chrono::milliseconds(1));
  }
  return threads_ == 0;
}

}  // namespace landgate::agent
