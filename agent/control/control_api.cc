#include "agent/control/control_api.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "agent/control/control_server.h"
#include "agent/limits.h"

namespace landgate::agent {
namespace {

// Shared with wake-ups that may come once more after the API has stopped.
class Bell {
 public:
  static Result<std::shared_ptr<Bell>> Make() {
    UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd.valid()) return SystemError("control API: eventfd", errno);
    return std::make_shared<Bell>(std::move(fd));
  }
  explicit Bell(UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const { return fd_.get(); }
  // EAGAIN: it rings already, or does not.
  void Ring() const { (void)!eventfd_write(fd_.get(), 1); }
  void Silence() const {
    eventfd_t count = 0;
    (void)!eventfd_read(fd_.get(), &count);
  }

 private:
  UniqueFd fd_;
};

}  // namespace

class ControlApi::Impl {
 public:
  Impl(ControlSources sources, std::shared_ptr<Bell> bell)
      : sources_(std::move(sources)), bell_(std::move(bell)) {}

  ~Impl() {
    if (!thread_.joinable()) return;
    stop_.store(true);
    bell_->Ring();
    thread_.join();
  }

  Status Add(UniqueFd listening, Surface surface, unsigned max_connections) {
    Result<std::unique_ptr<ControlServer>> server = ControlServer::Start(
        std::move(listening), surface, max_connections, sources_, [bell = bell_] { bell->Ring(); });
    if (!server) return Forward(server);
    servers_.push_back(std::move(*server));
    return {};
  }

  void Begin() {
    // Signals are for the main thread.
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);  // can't fail with a set of ours
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { Loop(); });
    (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

 private:
  void Loop() {
    while (!stop_.load()) {
      std::vector<struct pollfd> descriptors = {{bell_->fd(), POLLIN, 0}};
      auto due = ControlServer::Clock::time_point::max();
      for (const auto& server : servers_) {
        server->AddTo(descriptors);
        due = std::min(due, server->NextDue());
      }
      (void)poll(descriptors.data(), descriptors.size(), TimeoutUntil(due));  // EINTR: looked again
      bell_->Silence();
      for (const auto& server : servers_) server->Run(descriptors);
    }
    servers_.clear();
  }

  static int TimeoutUntil(ControlServer::Clock::time_point due) {
    using std::chrono::milliseconds;
    if (due == ControlServer::Clock::time_point::max()) return -1;
    const auto wait = std::chrono::ceil<milliseconds>(due - ControlServer::Clock::now());
    return static_cast<int>(std::clamp<milliseconds::rep>(wait.count(), 0, 60'000));
  }

  const ControlSources sources_;
  const std::shared_ptr<Bell> bell_;
  std::vector<std::unique_ptr<ControlServer>> servers_;  // the thread's, once it runs
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

Result<std::unique_ptr<ControlApi>> ControlApi::Start(UniqueFd control, UniqueFd metrics,
                                                      ControlSources sources) {
  Result<std::shared_ptr<Bell>> bell = Bell::Make();
  if (!bell) return Forward(bell);
  auto impl = std::make_unique<Impl>(std::move(sources), std::move(*bell));
  if (Status added = impl->Add(std::move(control), Surface::kControl, kMaxControlConnections);
      !added) {
    return Forward(added);
  }
  if (metrics.valid()) {
    if (Status added = impl->Add(std::move(metrics), Surface::kMetricsOnly, kMaxMetricsConnections);
        !added) {
      return Forward(added);
    }
  }
  impl->Begin();
  return std::unique_ptr<ControlApi>(new ControlApi(std::move(impl)));
}

ControlApi::ControlApi(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlApi::~ControlApi() = default;

}  // namespace landgate::agent
