// Threads that wait to receive for any listener (receivers.h). One pool for the whole process: a
// thread per listener blocks in its receive, and a few more are enough for all of them, because
// hardly any is held up at a time. Threads beyond kMaxIdleThreads end when they have nothing to do,
// the rest after kIdleThreadLife. Thread-safe.
#ifndef LANDGATE_AGENT_NOTIFY_STAND_INS_H_
#define LANDGATE_AGENT_NOTIFY_STAND_INS_H_

#include <chrono>
#include <cstddef>

namespace landgate::agent {

inline constexpr size_t kMaxIdleThreads = 16;
inline constexpr std::chrono::seconds kIdleThreadLife{5};

class ThreadJob {
 public:
  virtual void Run() = 0;

 protected:
  ~ThreadJob() = default;
};

// Runs `job`, which must live until it returns, on an idle thread or a new one. False: there is
// none and none could be made.
bool GiveThread(ThreadJob& job);

// Makes sure that a thread is idle now. Cheap where one is. False: as above.
bool HaveIdleThread();

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_STAND_INS_H_
