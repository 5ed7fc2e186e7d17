#include "agent/server/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace landgate::agent {
namespace {

constexpr Loop::Token kWake = 0;
constexpr size_t kEventsAtOnce = 64;

}  // namespace

Result<std::unique_ptr<Loop>> Loop::Make() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return SystemError("epoll_create1", errno);
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return SystemError("eventfd", errno);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWake}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return SystemError("epoll_ctl", errno);
  }
  return std::unique_ptr<Loop>(new Loop(std::move(epoll), std::move(wake)));
}

Result<Loop::Token> Loop::Watch(BorrowedFd fd, uint32_t events, Ready ready) {
  const Token token = next_++;
  epoll_event event{.events = events, .data = {.u64 = token}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) {
    return SystemError("epoll_ctl", errno);
  }
  watched_.emplace(token, std::make_shared<Ready>(std::move(ready)));
  return token;
}

void Loop::Unwatch(Token token, BorrowedFd fd) {
  if (watched_.erase(token) == 0) return;
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd.get(), nullptr);  // fails only if it is not there
}

void Loop::Post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));  // EAGAIN: it is about to wake up anyway
}

void Loop::After(Clock::duration delay, std::function<void()> work) {
  timers_.emplace(Clock::now() + delay, std::move(work));
}

int Loop::UntilNextTimer() const {
  if (timers_.empty()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60000));
}

void Loop::RunTimers() {
  const Clock::time_point now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const auto due = timers_.extract(timers_.begin());
    due.mapped()();
  }
}

void Loop::RunPosted() {
  uint64_t count;
  (void)!read(wake_.get(), &count, sizeof(count));
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(mutex_);
    work.swap(posted_);
  }
  for (const std::function<void()>& item : work) item();
}

void Loop::Run() {
  std::array<epoll_event, kEventsAtOnce> events;
  while (!stop_) {
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), UntilNextTimer());
    for (int i = 0; i < count && !stop_; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.u64 == kWake) {
        RunPosted();
        continue;
      }
      const auto watched = watched_.find(event.data.u64);
      if (watched == watched_.end()) continue;
      const std::shared_ptr<Ready> ready = watched->second;  // it may unwatch itself
      (*ready)(event.events);
    }
    RunTimers();
  }
}

}  // namespace landgate::agent
