// Keeps identical audit records from flooding the log: the first is written at once, those of the
// second that follows are counted, and the count is written as one record when that second is over
// and something else is reported, or at the end. A fixed number of kinds is remembered; where two
// share a place the older one's count is written early. Thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_REPEATS_H_
#define LANDGATE_AGENT_HANDLERS_REPEATS_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "agent/audit.h"

namespace landgate::agent {

class Repeats {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kWindow{1};

  explicit Repeats(AuditSink* sink) : sink_(sink) {}
  ~Repeats();
  Repeats(const Repeats&) = delete;
  Repeats& operator=(const Repeats&) = delete;

  // True: this one is counted and needs no record. Else Write must follow.
  bool Counted(uint64_t kind, Clock::time_point now = Clock::now());
  void Write(uint64_t kind, AuditRecord record, Clock::time_point now = Clock::now());

 private:
  struct Entry {
    uint64_t kind = 0;
    Clock::time_point since;
    uint64_t more = 0;
    AuditRecord record;
  };
  static constexpr size_t kEntries = 64;

  void Flush(Clock::time_point now);
  void Tell(Entry& entry);

  AuditSink* const sink_;
  std::mutex mutex_;
  std::array<std::unique_ptr<Entry>, kEntries> entries_;
  size_t pending_ = 0;  // entries with a count
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_REPEATS_H_
