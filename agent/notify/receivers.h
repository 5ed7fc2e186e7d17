// Which thread of a listener receives.
//
// Exactly one thread at a time has the role: it receives, handles, and receives again. All threads
// that block in a receive are woken by every notification (Linux 6.18 still: the wait is not
// exclusive), so a second one there would cost every call half as much again; stand-ins wait
// elsewhere (stand_ins.h). Before slow work the thread with the role says so (MakeSlow), which
// makes sure that a stand-in is there. If the work takes longer than kStandInAfter and the thread
// is really blocked, the keeper gives the role to a stand-in; and for kCautious from then on the
// role goes over before slow work begins, so that a caller who does it on purpose delays others
// once and no more. Whoever comes back from slow work and finds the role gone is a stand-in for
// all.
//
// Thread-safe where nothing else is said.
#ifndef LANDGATE_AGENT_NOTIFY_RECEIVERS_H_
#define LANDGATE_AGENT_NOTIFY_RECEIVERS_H_

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "agent/notify/stand_ins.h"

namespace landgate::agent {

inline constexpr std::chrono::milliseconds kStandInAfter{1};
// The role moves even from a thread that computes or waits for a processor.
inline constexpr std::chrono::milliseconds kStandInAfterAtMost{20};
inline constexpr std::chrono::seconds kCautious{1};

class Receivers final : private ThreadJob {
 public:
  // One thread's.
  struct Turn {
    bool receiving = true;   // has the role
    uint64_t slow_mark = 0;  // said to be slow with the role; 0: not
  };

  class Duty {
   public:
    // Receives one notification and handles it. False: nothing more will come. Called by the thread
    // with the role.
    virtual bool Next(Turn& turn) = 0;
    virtual void ThreadBegins() = 0;
    virtual void ThreadEnds() = 0;
    virtual void StoodIn() = 0;  // the role went over because its owner was held up
    // The last thread lets go; nothing of this class is touched afterwards.
    virtual void ThreadsGone() = 0;

   protected:
    ~Duty() = default;
  };

  explicit Receivers(Duty& duty) : duty_(duty) {}
  Receivers(const Receivers&) = delete;
  Receivers& operator=(const Receivers&) = delete;

  // Gives the role to a first thread. False: there is none.
  bool Start();
  // By a thread with the role, once per notification; `now` is not 0 and never the same twice.
  // False: no stand-in could be made.
  bool MakeSlow(Turn& turn, uint64_t now);
  // By the keeper: gives the role to a stand-in where its owner is held up. True: somebody with the
  // role is at slow work.
  bool Check(uint64_t now);
  // No more is received, and blocked receives end. True: all threads have let go, within
  // `patience`.
  bool Stop(std::chrono::milliseconds patience);
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

 private:
  void Run() override;
  bool TakeRole();  // by a thread that begins
  void FinishSlow(Turn& turn);

  Duty& duty_;
  // Of the slow work of the thread with the role; 0: it is not at any.
  std::atomic<uint64_t> slow_since_{0};
  std::atomic<uint64_t> cautious_until_{0};
  std::atomic<pid_t> owner_{0};  // of the role
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  uint32_t threads_ = 0;
  bool given_ = false;  // the role is for the next thread that begins
  // Else it may take the role from whoever has been at slow work since then.
  uint64_t offered_ = 0;
  bool offered_of_blocked_ = false;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_RECEIVERS_H_
