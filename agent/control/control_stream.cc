#include "agent/control/control_stream.h"

#include <algorithm>
#include <cstring>

#include "agent/audit.h"

namespace landgate::agent {
namespace {

// Records that are encoded at a time; the rest waits in the backlog, which is what is bounded.
constexpr size_t kAtOnce = 16;

}  // namespace

ControlStream::ControlStream(Events& events, EventFilter filter, const std::function<void()>& wake)
    : text_(": landgate events\n\n"), last_(Clock::now()) {
  reader_ = events.Subscribe(std::move(filter), [woken = woken_, wake] {
    woken->store(true);
    wake();
  });
}

size_t ControlStream::Fill(char* buffer, size_t space, Clock::time_point now) {
  if (moved_ == text_.size()) {
    text_.clear();
    moved_ = 0;
    const Events::Reader::Taken taken = reader_->Take(kAtOnce);
    if (taken.lost > 0) {
      text_ += "event: lost\ndata: {\"lost\":" + std::to_string(taken.lost) + "}\n\n";
    }
    for (const AuditRecordPtr& record : taken.records) {
      text_ += "data: " + EncodeAudit(*record) + "\n";
    }
    if (text_.empty() && HeartbeatDue(now)) text_ = ":\n\n";
    if (text_.empty()) return 0;
  }
  const size_t count = std::min(space, text_.size() - moved_);
  memcpy(buffer, text_.data() + moved_, count);
  moved_ += count;
  last_ = now;
  return count;
}

}  // namespace landgate::agent
