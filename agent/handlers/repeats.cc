#include "agent/handlers/repeats.h"

#include <string>
#include <utility>

namespace landgate::agent {

Repeats::~Repeats() { Flush(Clock::time_point::max()); }

bool Repeats::Counted(uint64_t kind, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (pending_ > 0) Flush(now);
  Entry* const entry = entries_[kind % kEntries].get();
  if (!entry || entry->kind != kind || now - entry->since >= kWindow) return false;
  if (entry->more++ == 0) ++pending_;
  return true;
}

void Repeats::Write(uint64_t kind, AuditRecord record, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Entry>& place = entries_[kind % kEntries];
  if (place) Tell(*place);
  place = std::make_unique<Entry>(Entry{kind, now, 0, record});
  sink_->Write(std::move(record));
}

void Repeats::Flush(Clock::time_point now) {
  for (const std::unique_ptr<Entry>& entry : entries_) {
    if (entry && entry->more > 0 &&
        (now == Clock::time_point::max() || now - entry->since >= kWindow))
      Tell(*entry);
  }
}

void Repeats::Tell(Entry& entry) {
  if (entry.more == 0) return;
  AuditRecord record = entry.record;
  record.time = std::chrono::system_clock::now();
  record.latency.reset();
  if (!record.message.empty()) record.message += "; ";
  record.message += "repeated " + std::to_string(entry.more) + " times within a second";
  record.count = entry.more;
  entry.more = 0;
  --pending_;
  sink_->Write(std::move(record));
}

}  // namespace landgate::agent
