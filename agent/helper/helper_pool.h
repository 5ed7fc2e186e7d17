// The serving process's end of its helpers (helper.h): starts them, gives them operations, and
// waits for what becomes of those.
//
// A helper performs one operation at a time; there are as many as operations are in hand, within
// kMaxHelpers in all and kMaxHelpersPerOwner for one owner (a container), and a few idle ones are
// kept. Thread-safe.
#ifndef LANDGATE_AGENT_HELPER_HELPER_POOL_H_
#define LANDGATE_AGENT_HELPER_HELPER_POOL_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/helper/helper.h"
#include "agent/notify/once.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

// Which record of which region says what becomes of an operation.
struct OncePlace {
  uint32_t region = 0;
  uint32_t record = 0;
  uint32_t claim = 0;
};

struct HelperRequest {
  std::string_view operation;  // NamedOperation::name
  std::string_view bytes;      // at most kMaxHelperRequestBytes
  std::span<const BorrowedFd> fds;
  uint64_t owner = 0;  // whose share of the helpers it takes: a container's key; 0: nobody's
};

struct HelperResult {
  bool performed = false;  // false: its record was no longer claimed for it
  int64_t value = 0;       // >= 0, or -errno
};

class HelperPool {
 public:
  struct Options {
    // What is executed, e.g. {"/proc/self/exe", "helper"}: the very program that runs, also when
    // its file has been replaced.
    std::vector<std::string> command;
    std::span<const NamedOperation> operations = HelperOperations();
    BorrowedFd area{-1};  // the memfd of area.h; -1: no at-most-once operations
  };
  explicit HelperPool(Options options);
  ~HelperPool();  // helpers that are in the middle of something finish it
  HelperPool(const HelperPool&) = delete;
  HelperPool& operator=(const HelperPool&) = delete;

  // Performs an operation that belongs to no system call. The value is what it returned, >= 0 or
  // -errno. Errors: EAGAIN (busy, or no process can be made), ETIMEDOUT (goes on in the helper),
  // EIO (the helper died in the middle; nobody knows whether it happened).
  Result<int64_t> Run(const HelperRequest& request, std::chrono::milliseconds timeout);

  // One helper in the hands of one operation; for once_perform.cc.
  class Lease;
  Result<std::unique_ptr<Lease>> Acquire(uint64_t owner);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

class HelperPool::Lease {
 public:
  ~Lease();  // a helper that has not answered yet is looked after until it has
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  pid_t pid() const;
  uint64_t start_time() const;  // clock ticks since boot
  bool Alive() const;           // as far as was noticed
  // Sends the request; from then on the helper performs it whatever happens to this process.
  Status Send(const HelperRequest& request, const OncePlace* once);
  // kDied: the helper has; kStopped: `go_on` said so. After those but kAnswered what became of the
  // operation is not known from here.
  enum class Event { kAnswered, kDied, kTimeout, kStopped };
  // Waits for the answer; `go_on` is asked every few milliseconds.
  Event Wait(std::chrono::milliseconds timeout, const std::function<bool()>& go_on,
             HelperResult* result);

 private:
  friend class HelperPool;
  struct State;
  explicit Lease(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HELPER_HELPER_POOL_H_
