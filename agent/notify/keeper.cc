#include "agent/notify/keeper.h"

#include <time.h>

#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "agent/notify/thread.h"

namespace landgate::agent {
namespace {

// A listener that is asked all the time is looked at all the time: coming and going costs more.
constexpr int kIdleChecks = 50;
constexpr std::chrono::seconds kKeeperLife{5};

uint64_t Read(clockid_t clock) {
  timespec now{};
  (void)clock_gettime(clock, &now);  // can't fail for these clocks
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

class Keeper {
 public:
  bool Add(const std::shared_ptr<Watched>& what) {
    const std::lock_guard lock(mutex_);
    if (!running_) {
      if (!StartThread("lg-keeper", [this] { Run(); })) return false;
      running_ = true;
    }
    added_.reserve(added_.size() + 1);  // may throw; nothing may come between the next two
    if (what->watched.exchange(true)) return true;
    added_.push_back(what);
    added_to_.notify_one();
    return true;
  }

 private:
  struct Entry {
    std::shared_ptr<Watched> what;
    int idle = 0;
  };

  void Run() {
    std::vector<Entry> entries;
    while (Take(entries)) {
      const uint64_t now = MonotonicNow();
      std::erase_if(entries, [now](Entry& entry) { return LookAway(entry, now); });
      const timespec tick{0, std::chrono::nanoseconds(kKeeperTick).count()};
      (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, nullptr);  // a shorter sleep does no harm
    }
  }

  // Waits until there is something to look at. False: there was nothing for long.
  bool Take(std::vector<Entry>& entries) {
    std::unique_lock lock(mutex_);
    if (entries.empty() &&
        !added_to_.wait_for(lock, kKeeperLife, [this] { return !added_.empty(); })) {
      running_ = false;
      return false;
    }
    for (std::shared_ptr<Watched>& what : added_) entries.push_back({std::move(what)});
    added_.clear();
    return true;
  }

  static bool LookAway(Entry& entry, uint64_t now) {
    if (entry.what.use_count() == 1) return true;  // everybody else has let go
    if (entry.what->Check(now)) {
      entry.idle = 0;
      return false;
    }
    if (++entry.idle < kIdleChecks) return false;
    entry.what->watched.store(false);
    if (!entry.what->Check(now)) return true;
    entry.idle = 0;
    // Whoever made work meanwhile may have seen us look away and added it again.
    return entry.what->watched.exchange(true);
  }

  std::mutex mutex_;
  std::condition_variable added_to_;
  std::vector<std::shared_ptr<Watched>> added_;
  bool running_ = false;
};

}  // namespace

uint64_t MonotonicNow() { return Read(CLOCK_MONOTONIC); }
uint64_t MonotonicCoarse() { return Read(CLOCK_MONOTONIC_COARSE); }

bool Watch(const std::shared_ptr<Watched>& what) {
  if (what->watched.load()) return true;
  // Never destroyed: its thread may outlive main.
  static Keeper* const keeper = new Keeper;
  return keeper->Add(what);
}

}  // namespace landgate::agent
