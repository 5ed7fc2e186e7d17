// At most once: an operation with a side effect is performed once per system call, however often
// signals make the kernel notify the same call again.
//
// A record is claimed, a helper that outlives the serving process writes kStarted, performs, and
// writes the outcome. When the same call comes again it is given the recorded outcome. A record
// that stays kStarted while its helper is dead is an operation of which nobody knows whether it
// happened: EIO, never a second time.
//
// "The same call" is: thread and its start time, system call number, arguments, instruction and
// stack pointer, and a hash of what was copied for it: memory, and the identity of the objects that
// its descriptors stand for (a socket's cookie, a directory's inode).
//
// That an answer was sent does not prove that it arrived: a signal that reaches the caller in the
// same microsecond makes it leave all the same, and the call is notified again although SEND said 0
// (up to 66 of 20,000 calls on two CPUs under a signal every 200 µs, Linux 6.18). So a record stays
// after a successful answer too (kAnswered). It ends with the thread's next other notification that
// is not from deeper in the stack (that may be the signal handler's own), or kOnceLife after the
// last answer; and a record that was answered gives way where room is needed.
//
// The layout; once_table.h has what is done with it.
#ifndef LANDGATE_AGENT_NOTIFY_ONCE_H_
#define LANDGATE_AGENT_NOTIFY_ONCE_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace landgate::agent {

inline constexpr size_t kOnceRecords = 64;  // as many as slots: one operation each
inline constexpr std::chrono::milliseconds kOnceLife{2000};

struct CallKey {
  int32_t thread = 0;
  int32_t syscall = 0;
  uint64_t thread_start = 0;  // clock ticks since boot, /proc/PID/stat field 22
  uint64_t arguments[6] = {};
  uint64_t instruction_pointer = 0;
  uint64_t stack_pointer = 0;
  uint64_t content_hash = 0;
  bool operator==(const CallKey&) const = default;
};

enum class OnceState : uint32_t {
  kFree = 0,
  kClaimed,   // by the serving process, for a helper that has not begun
  kStarted,   // by the helper
  kDone,      // the outcome is there, and was not answered yet as far as anybody knows
  kAnswered,  // SEND has said 0
};

// `state` in one word, so that one compare-and-exchange publishes an outcome: an OnceState in the
// low 8 bits, then the claim's number (24 bits, so that nobody takes another claim for his own),
// then the outcome: >= 0, or -errno. A futex on its low half is woken with kDone.
constexpr uint64_t OnceWord(OnceState state, uint32_t claim, int32_t value = 0) {
  return uint64_t{static_cast<uint32_t>(value)} << 32 | uint64_t{claim & 0xffffff} << 8 |
         static_cast<uint64_t>(state);
}
constexpr OnceState OnceStateOf(uint64_t word) { return static_cast<OnceState>(word & 0xff); }
constexpr uint32_t OnceClaimOf(uint64_t word) {
  return static_cast<uint32_t>(word >> 8) & 0xffffff;
}
constexpr int32_t OnceValueOf(uint64_t word) { return static_cast<int32_t>(word >> 32); }

// In shared memory. The serving process writes everything (once_table.h) but two changes of
// `state`, which are the helper's: kClaimed to kStarted, and kStarted to kDone.
struct OnceRecord {
  std::atomic<uint64_t> state;         // OnceWord
  std::atomic<uint64_t> helper_start;  // the helper's start time
  std::atomic<uint64_t> at;     // when kDone was first seen, or the last answer; ns, monotonic
  std::atomic<int32_t> helper;  // pid of the helper that performs it
  CallKey key;                  // written before kClaimed is published
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_ONCE_H_
