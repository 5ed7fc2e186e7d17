// Fan-out of audit records to those who read GET /v1/events. Each reader has a bounded backlog of
// its own: a slow one loses records, is told how many, and delays nobody. Thread-safe.
#ifndef LANDGATE_AGENT_CONTROL_EVENTS_H_
#define LANDGATE_AGENT_CONTROL_EVENTS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/audit.h"

namespace landgate::agent {

using AuditRecordPtr = std::shared_ptr<const AuditRecord>;

// What one reader wants to see.
struct EventFilter {
  bool denied_only = false;  // verdict deny, or audit: what would have been denied
  std::string container;     // id; empty: all
  bool Matches(const AuditRecord& record) const;
};

class Events {
 public:
  // One reader. Records that match are kept, at most kEventBacklog, until Take.
  class Reader {
   public:
    Reader(EventFilter filter, std::function<void()> wake)
        : filter_(std::move(filter)), wake_(std::move(wake)) {}

    struct Taken {
      uint64_t lost = 0;  // older than every record here
      std::vector<AuditRecordPtr> records;
    };
    // At most `at_most` records, oldest first; empty: nothing has happened since.
    Taken Take(size_t at_most);

   private:
    friend class Events;
    void Offer(const AuditRecordPtr& record);

    const EventFilter filter_;
    // Called without a lock held, from the thread that published, when the backlog was empty.
    const std::function<void()> wake_;
    std::mutex mutex_;
    std::deque<AuditRecordPtr> backlog_;
    uint64_t lost_ = 0;
  };

  // Gets what is published from now on. It ends when the reader lets go of it. `wake` may be called
  // until then, and once more by a thread that is publishing just now.
  std::shared_ptr<Reader> Subscribe(EventFilter filter, std::function<void()> wake);
  void Publish(const AuditRecordPtr& record);

 private:
  std::mutex mutex_;
  std::vector<std::weak_ptr<Reader>> readers_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_EVENTS_H_
