// The one thread that looks at busy listeners from outside, every millisecond: it lets another
// thread receive where one is held up, and ends reads of memory at their deadline (receivers.h,
// listener.h). It runs only while something is watched and ends when nothing has been for a while,
// so an idle agent has no such thread.
#ifndef LANDGATE_AGENT_NOTIFY_KEEPER_H_
#define LANDGATE_AGENT_NOTIFY_KEEPER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

namespace landgate::agent {

inline constexpr std::chrono::milliseconds kKeeperTick{1};

// CLOCK_MONOTONIC in nanoseconds.
uint64_t MonotonicNow();
// The same clock as of the kernel's last tick, for a third of the price: up to 4 ms behind.
uint64_t MonotonicCoarse();

class Watched {
 public:
  // Looks after it. Called by the keeper, one at a time; `now` is MonotonicNow. False: there is
  // nothing to look after at the moment.
  virtual bool Check(uint64_t now) = 0;

  // True while the keeper looks at it. Whoever makes work for the keeper writes that first and
  // reads this then, both sequentially consistent; the keeper does it the other way round before it
  // looks away.
  std::atomic<bool> watched{false};

 protected:
  ~Watched() = default;
};

// Has the keeper look at `what` until Check says that it need not. Cheap when it does already.
// False: there is no keeper and no thread for one.
bool Watch(const std::shared_ptr<Watched>& what);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_KEEPER_H_
