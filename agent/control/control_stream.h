// One reader of GET /v1/events: records as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
//
//   data: {"time":…}              one record, as the audit log has it
//   event: lost, data: {"lost":N} N records before the next one did not fit into the backlog
//   : …                           a comment: at the start, and where nothing happened for a while
//
// Lives on the API's thread; only the wake-up comes from others.
#ifndef LANDGATE_AGENT_CONTROL_CONTROL_STREAM_H_
#define LANDGATE_AGENT_CONTROL_CONTROL_STREAM_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "agent/control/events.h"

namespace landgate::agent {

// A reader that hears nothing for so long hears a comment: it shows both ends that the other lives.
inline constexpr std::chrono::seconds kEventHeartbeat{15};

class ControlStream {
 public:
  using Clock = std::chrono::steady_clock;

  // `wake` is called from any thread when there is something to fill in again.
  ControlStream(Events& events, EventFilter filter, const std::function<void()>& wake);

  // Moves at most `space` bytes of what there is to `buffer`; 0: nothing for now.
  size_t Fill(char* buffer, size_t space, Clock::time_point now);
  // True once after something has happened that Fill has not seen.
  bool TakeWoken() { return woken_->exchange(false); }
  bool HeartbeatDue(Clock::time_point now) const { return now - last_ >= kEventHeartbeat; }

 private:
  // Shared with the wake-up, which may come once more when this is gone.
  std::shared_ptr<std::atomic<bool>> woken_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<Events::Reader> reader_;
  std::string text_;  // not yet moved
  size_t moved_ = 0;  // of text_
  Clock::time_point last_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_CONTROL_STREAM_H_
