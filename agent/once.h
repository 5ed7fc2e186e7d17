// At most once: an operation with a side effect is performed once per system call, however often
// signals make the kernel notify the same call again.
//
// A helper that outlives the serving process claims a record, writes kStarted, performs, and writes
// the outcome. When the answer could not be delivered (SEND: ENOENT) and the same call comes again,
// the outcome is delivered once. The record ends with the thread's next other notification or two
// seconds after the outcome. A record that stays kStarted while its helper is dead is an operation
// of which nobody knows whether it happened: EIO, never a second time.
//
// "The same call" is: thread and its start time, system call number, arguments, instruction and
// stack pointer, and a hash of the memory that was copied for it.
//
// In shared memory (area.h); lock-free, one writer per state change.
#ifndef LANDGATE_AGENT_ONCE_H_
#define LANDGATE_AGENT_ONCE_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace landgate::agent {

inline constexpr size_t kOnceRecords = 64;  // as many as slots: one operation each
inline constexpr std::chrono::milliseconds kOnceLife{2000};

struct CallKey {
  int32_t thread = 0;
  uint64_t thread_start = 0;  // clock ticks since boot, /proc/PID/stat field 22
  int32_t syscall = 0;
  uint64_t arguments[6] = {};
  uint64_t instruction_pointer = 0;
  uint64_t stack_pointer = 0;
  uint64_t memory_hash = 0;
  bool operator==(const CallKey&) const = default;
};

enum class OnceState : uint32_t { kFree = 0, kClaimed, kStarted, kDone };

struct OnceRecord {
  std::atomic<uint32_t> state;         // OnceState
  std::atomic<int32_t> helper;         // pid of the helper that performs it
  std::atomic<uint64_t> helper_start;  // its start time
  std::atomic<int64_t> value;          // result: >= 0, or -errno
  std::atomic<uint64_t> done_at;       // CLOCK_MONOTONIC, ns
  CallKey key;                         // written before kClaimed is published
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_ONCE_H_
