#include "agent/receivers.h"

#include <unistd.h>

#include "agent/thread.h"

namespace landgate::agent {
namespace {

template <class Duration>
constexpr uint64_t Nanoseconds(Duration duration) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(duration).count());
}

}  // namespace

bool Receivers::Start() {
  const std::lock_guard lock(mutex_);
  return Spawn(true);
}

bool Receivers::Spawn(bool receiving) {
  if (!StartThread("lg-listener", [this, receiving] { Run(receiving); })) return false;
  ++threads_;
  if (!receiving) stand_ins_.fetch_add(1);
  return true;
}

void Receivers::GiveRole() {
  offered_ = true;
  stand_ins_.fetch_sub(1);
  changed_.notify_one();
}

bool Receivers::MakeSlow(Turn& turn, uint64_t now) {
  if (now < cautious_until_.load(std::memory_order_relaxed)) {
    const std::lock_guard lock(mutex_);
    if (closed_) return true;
    if (stand_ins_.load() == 0 && !Spawn(false)) return false;
    turn.receiving = false;
    GiveRole();
    return true;
  }
  // Written before stand_ins_ is read: a stand-in that wants to end does it the other way round.
  slow_since_.store(now);
  turn.slow_mark = now;
  if (stand_ins_.load() > 0) return true;
  const std::lock_guard lock(mutex_);
  if (stand_ins_.load() > 0 || closed_ || Spawn(false)) return true;
  (void)FinishSlow(turn);
  return false;
}

bool Receivers::FinishSlow(Turn& turn) {
  if (turn.slow_mark == 0) return turn.receiving;
  uint64_t mark = turn.slow_mark;
  turn.slow_mark = 0;
  // The keeper takes the role by the same exchange: one of us has it.
  if (!slow_since_.compare_exchange_strong(mark, 0)) turn.receiving = false;
  return turn.receiving;
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
  // None: MakeSlow is about to make one.
  if (closed_ || stand_ins_.load() == 0) return true;
  if (!slow_since_.compare_exchange_strong(since, 0)) return true;
  if (blocked) cautious_until_.store(now + Nanoseconds(kCautious), std::memory_order_relaxed);
  GiveRole();
  duty_.StoodIn();
  return true;
}

void Receivers::Run(bool receiving) {
  AcceptThreadSignal();
  duty_.ThreadStarted();
  Turn turn;
  turn.receiving = receiving;
  // A thread that was made as a stand-in is one already.
  bool awaited = receiving || AwaitRole(turn);
  while (awaited) {
    owner_.store(gettid(), std::memory_order_relaxed);
    while (turn.receiving) {
      if (!duty_.Next(turn)) {
        Close();
        break;
      }
      (void)FinishSlow(turn);
    }
    if (turn.receiving) break;
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || stand_ins_.load() >= kMaxStandIns) break;
      stand_ins_.fetch_add(1);
    }
    awaited = AwaitRole(turn);
  }
  bool last;
  {
    const std::lock_guard lock(mutex_);
    if (turn.receiving) owner_.store(0, std::memory_order_relaxed);
    last = --threads_ == 0;
    changed_.notify_all();  // with the lock held: Stop's caller may destroy us once it sees this
  }
  if (last) duty_.ThreadsGone();
}

bool Receivers::AwaitRole(Turn& turn) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const bool told = changed_.wait_for(lock, kStandInLife, [this] { return offered_ || closed_; });
    if (closed_) {
      if (!offered_) stand_ins_.fetch_sub(1);
      offered_ = false;
      return false;
    }
    if (told) {
      offered_ = false;
      turn.receiving = true;
      return true;
    }
    stand_ins_.fetch_sub(1);
    // See MakeSlow: one of the two sees the other.
    if (stand_ins_.load() > 0 || slow_since_.load() == 0) return false;
    stand_ins_.fetch_add(1);
  }
}

void Receivers::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool Receivers::Stop(std::chrono::milliseconds patience) {
  stopping_.store(true);
  const auto until = std::chrono::steady_clock::now() + patience;
  std::unique_lock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
  while (threads_ > 0 && std::chrono::steady_clock::now() < until) {
    // Again and again: a signal just before the receive is lost.
    if (const pid_t owner = owner_.load(std::memory_order_relaxed); owner != 0) SignalThread(owner);
    (void)changed_.wait_for(lock, std::chrono::milliseconds(1));
  }
  return threads_ == 0;
}

}  // namespace landgate::agent
