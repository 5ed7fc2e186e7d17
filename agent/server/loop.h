// The main loop: descriptors that become ready, work posted by other threads, timers. Nothing that
// it calls may wait. Post is thread-safe, everything else is for the loop's own thread.
#ifndef LANDGATE_AGENT_SERVER_LOOP_H_
#define LANDGATE_AGENT_SERVER_LOOP_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class Loop {
 public:
  using Clock = std::chrono::steady_clock;
  using Ready = std::function<void(uint32_t events)>;  // EPOLL*
  using Token = uint64_t;

  static Result<std::unique_ptr<Loop>> Make();

  // `fd` stays open until Unwatch. A callback that was unwatched is not called any more, not even
  // for an event that was seen before.
  Result<Token> Watch(BorrowedFd fd, uint32_t events, Ready ready);
  void Unwatch(Token token, BorrowedFd fd);
  void Post(std::function<void()> work);
  void After(Clock::duration delay, std::function<void()> work);

  void Run();  // until Stop
  void Stop() { stop_ = true; }

 private:
  Loop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  int UntilNextTimer() const;  // ms; -1: none
  void RunTimers();
  void RunPosted();

  UniqueFd epoll_;
  UniqueFd wake_;
  bool stop_ = false;
  Token next_ = 1;
  std::map<Token, std::shared_ptr<Ready>> watched_;
  std::multimap<Clock::time_point, std::function<void()>> timers_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_LOOP_H_
