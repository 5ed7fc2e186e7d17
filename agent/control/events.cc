#include "agent/control/events.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "agent/limits.h"

namespace landgate::agent {

bool EventFilter::Matches(const AuditRecord& record) const {
  if (!container.empty() && container != record.container) return false;
  return !denied_only || record.verdict == AuditVerdict::kDeny ||
         record.verdict == AuditVerdict::kAudit;
}

void Events::Reader::Offer(const AuditRecordPtr& record) {
  if (!filter_.Matches(*record)) return;
  {
    const std::lock_guard lock(mutex_);
    const bool was_empty = backlog_.empty();
    // The oldest goes: who looks at last wants to see what is happening now.
    if (backlog_.size() == kEventBacklog) {
      backlog_.pop_front();
      ++lost_;
    }
    backlog_.push_back(record);
    if (!was_empty) return;
  }
  wake_();
}

Events::Reader::Taken Events::Reader::Take(size_t at_most) {
  const std::lock_guard lock(mutex_);
  Taken taken;
  taken.lost = std::exchange(lost_, 0);
  const auto count = static_cast<std::ptrdiff_t>(std::min(at_most, backlog_.size()));
  taken.records.assign(std::make_move_iterator(backlog_.begin()),
                       std::make_move_iterator(backlog_.begin() + count));
  backlog_.erase(backlog_.begin(), backlog_.begin() + count);
  return taken;
}

std::shared_ptr<Events::Reader> Events::Subscribe(EventFilter filter, std::function<void()> wake) {
  auto reader = std::make_shared<Reader>(std::move(filter), std::move(wake));
  const std::lock_guard lock(mutex_);
  std::erase_if(readers_, [](const auto& gone) { return gone.expired(); });
  readers_.push_back(reader);
  return reader;
}

void Events::Publish(const AuditRecordPtr& record) {
  // Taken out of the list first: no reader's lock is ever held together with the list's.
  std::vector<std::shared_ptr<Reader>> readers;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(readers_, [](const auto& gone) { return gone.expired(); });
    for (const auto& reader : readers_) {
      if (auto alive = reader.lock()) readers.push_back(std::move(alive));
    }
  }
  for (const auto& reader : readers) reader->Offer(record);
}

}  // namespace landgate::agent
