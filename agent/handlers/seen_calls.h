// Calls that were looked at a moment ago and found allowed, so that a program that opens the same
// files over and over costs next to nothing.
//
// An entry is a hash of everything that the outcome depends on, and of the second in which it was
// made: it means nothing a second later. So a symlink that is changed meanwhile is noticed within a
// second; nothing is granted by an entry, and audit mode alone uses them. The hash is seeded, so
// that a workload can't look for two calls that share one. Of fixed size; thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_SEEN_CALLS_H_
#define LANDGATE_AGENT_HANDLERS_SEEN_CALLS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace landgate::agent {

// A hash in the making: order counts.
class Fingerprint {
 public:
  Fingerprint();  // of the running second
  // Of no second: for what is remembered with a time of its own.
  static Fingerprint Timeless();

  Fingerprint& Add(uint64_t value);
  Fingerprint& Add(std::string_view bytes);
  uint64_t value() const { return state_; }

 private:
  explicit Fingerprint(uint64_t state) : state_(state) {}
  uint64_t state_;
};

class SeenCalls {
 public:
  bool Contains(uint64_t fingerprint) const {
    return Slot(fingerprint).load(std::memory_order_relaxed) == fingerprint;
  }
  void Insert(uint64_t fingerprint) {
    Slot(fingerprint).store(fingerprint, std::memory_order_relaxed);
  }

 private:
  static constexpr size_t kEntries = 128;  // 1 KiB of every listener in audit mode
  const std::atomic<uint64_t>& Slot(uint64_t fingerprint) const {
    return entries_[fingerprint % kEntries];
  }
  std::atomic<uint64_t>& Slot(uint64_t fingerprint) { return entries_[fingerprint % kEntries]; }

  std::array<std::atomic<uint64_t>, kEntries> entries_{};
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_SEEN_CALLS_H_
