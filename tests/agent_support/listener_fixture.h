// A listener as the server would start it, for tests: an area, metrics, and a wait for its end.
#ifndef LANDGATE_TESTS_AGENT_SUPPORT_LISTENER_FIXTURE_H_
#define LANDGATE_TESTS_AGENT_SUPPORT_LISTENER_FIXTURE_H_

#include <dirent.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent/audit.h"
#include "agent/notify/area.h"
#include "agent/notify/listener.h"
#include "agent/notify/metrics.h"
#include "node/registration.h"
#include "tests/agent_support/filtered_process.h"

namespace landgate::test {

inline constexpr std::chrono::seconds kPatience{
    20};  // for what happens at once unless it is broken

class AuditRecorder final : public agent::AuditSink {
 public:
  void Write(agent::AuditRecord record) override {
    const std::lock_guard lock(mutex_);
    records_.push_back(std::move(record));
  }
  std::vector<agent::AuditRecord> records() {
    const std::lock_guard lock(mutex_);
    return records_;
  }

 private:
  std::mutex mutex_;
  std::vector<agent::AuditRecord> records_;
};

inline agent::ContainerPtr NewContainer(oci::Mode mode = oci::Mode::kEnforce) {
  node::Registration registration;
  registration.id = "a-container";
  registration.mode = mode;
  return std::make_shared<agent::Container>(std::move(registration));
}

// Area, metrics, audit, and how many of the listeners have ended.
class Agency {
 public:
  Agency() : area_(std::move(*agent::Area::Create())) {
    services_.area = &area_;
    services_.audit = &audit_;
    services_.metrics = metrics_.get();
  }
  ~Agency() { EXPECT_TRUE(AllGone()); }
  Agency(const Agency&) = delete;
  Agency& operator=(const Agency&) = delete;

  // Serves `listener`, in a region of its own that its end frees. Null: it could not be started.
  std::shared_ptr<agent::Listener> Serve(UniqueFd listener, agent::Handler handler,
                                         agent::ContainerPtr container = NewContainer()) {
    std::optional<uint32_t> region;
    {
      const std::lock_guard lock(mutex_);
      region = area_.Allocate(area_.NextKey());
    }
    EXPECT_TRUE(region);
    return Serve(std::move(listener), *region, std::move(handler), std::move(container));
  }
  std::shared_ptr<agent::Listener> Serve(UniqueFd listener, uint32_t region, agent::Handler handler,
                                         agent::ContainerPtr container = NewContainer()) {
    {
      const std::lock_guard lock(mutex_);
      ++started_;
    }
    Result<std::shared_ptr<agent::Listener>> served =
        agent::Listener::Start(services_, std::move(listener), region, std::move(container),
                               std::move(handler), [this](agent::Listener& ended) {
                                 const std::lock_guard lock(mutex_);
                                 area_.Free(ended.region_index());
                                 ++ended_;
                                 changed_.notify_all();
                               });
    EXPECT_TRUE(served) << served.error().message;
    return served ? *served : nullptr;
  }

  // Waits until `count` listeners have ended.
  bool Ended(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return ended_ >= count; });
  }
  bool AllGone() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return ended_ + forgotten_ == started_; });
  }
  // One that was stopped and never ends.
  void Forget() {
    const std::lock_guard lock(mutex_);
    ++forgotten_;
  }

  agent::Area& area() { return area_; }
  agent::Metrics& metrics() { return *metrics_; }
  AuditRecorder& audit() { return audit_; }
  const agent::Services& services() const { return services_; }
  // As on kernels before Linux 6.11.
  void PollBeforeReceiving() { services_.always_poll = true; }
  uint64_t Sum(agent::Metrics::Counter agent::Metrics::Shard::*counter) const {
    return metrics_->Sum(counter);
  }

 private:
  agent::Area area_;
  std::unique_ptr<agent::Metrics> metrics_ = std::make_unique<agent::Metrics>();
  AuditRecorder audit_;
  agent::Services services_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int started_ = 0, ended_ = 0, forgotten_ = 0;
};

// A gate that holds threads up until it is opened, and counts who came.
class Gate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  bool Waiting(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return waiting_ >= count; });
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

// Of this process.
inline int CountOf(const char* directory) {
  DIR* const open = opendir(directory);
  int count = 0;
  while (const dirent* entry = open != nullptr ? readdir(open) : nullptr)
    if (entry->d_name[0] != '.') ++count;
  if (open != nullptr) closedir(open);
  return count;
}
inline int CountThreads() { return CountOf("/proc/self/task"); }
inline int CountDescriptors() { return CountOf("/proc/self/fd"); }
// Resident memory in KiB.
inline long ResidentKib() {
  long size = 0, resident = 0;
  if (FILE* statm = fopen("/proc/self/statm", "re")) {
    if (fscanf(statm, "%ld %ld", &size, &resident) != 2) resident = 0;
    fclose(statm);
  }
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

// Waits for something that comes without an event of its own (a thread that leaves the table of
// processes).
template <class Condition>
bool Eventually(const Condition& condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace landgate::test

#endif  // LANDGATE_TESTS_AGENT_SUPPORT_LISTENER_FIXTURE_H_
