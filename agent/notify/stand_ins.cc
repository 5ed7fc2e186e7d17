#include "agent/notify/stand_ins.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <vector>

#include "agent/notify/thread.h"

namespace landgate::agent {
namespace {

class Pool {
 public:
  bool Give(ThreadJob& job) {
    const std::lock_guard lock(mutex_);
    if (idle_.load() == 0) {
      return StartThread("lg-listener", [this, first = &job] { Run(first); });
    }
    try {
      given_.push_back(&job);
    } catch (const std::bad_alloc&) {
      return false;
    }
    // Its thread is as good as taken.
    idle_.fetch_sub(1);
    changed_.notify_one();
    return true;
  }

  bool HaveIdle() {
    if (idle_.load(std::memory_order_relaxed) > 0) return true;
    const std::lock_guard lock(mutex_);
    if (idle_.load() > 0) return true;
    if (!StartThread("lg-listener", [this] { Run(nullptr); })) return false;
    idle_.fetch_add(1);
    return true;
  }

 private:
  void Run(ThreadJob* job) {
    AcceptThreadSignal();
    if (job == nullptr) job = Next();  // was counted as idle when it was made
    while (job != nullptr) {
      job->Run();
      job = BeIdle() ? Next() : nullptr;
    }
  }

  bool BeIdle() {
    const std::lock_guard lock(mutex_);
    if (idle_.load() >= kMaxIdleThreads) return false;
    idle_.fetch_add(1);
    return true;
  }

  ThreadJob* Next() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kIdleThreadLife, [this] { return !given_.empty(); })) {
      idle_.fetch_sub(1);
      return nullptr;
    }
    ThreadJob* const job = given_.back();
    given_.pop_back();
    return job;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ThreadJob*> given_;  // to idle threads that have not woken up yet
  std::atomic<size_t> idle_{0};    // without those; changed with mutex_
};

// Never destroyed: its threads may outlive main.
Pool& ThePool() {
  static Pool* const pool = new Pool;
  return *pool;
}

}  // namespace

bool GiveThread(ThreadJob& job) { return ThePool().Give(job); }
bool HaveIdleThread() { return ThePool().HaveIdle(); }

}  // namespace landgate::agent
