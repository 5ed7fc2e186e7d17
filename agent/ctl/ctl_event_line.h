// Audit records as landgatectl shows them: one line for a person. Pure, but for asking whether
// stdout is a terminal.
#ifndef LANDGATE_AGENT_CTL_CTL_EVENT_LINE_H_
#define LANDGATE_AGENT_CTL_CTL_EVENT_LINE_H_

#include <string>
#include <string_view>

#include "policy/json_reader.h"

namespace landgate::ctl {

// "2026-11-22T03:04:05.678Z web-1 deny openat /etc/shadow fs.read_file …", without a newline.
std::string EventLine(const policy::Json& record);

// What the user wants to see.
struct EventChoice {
  bool denied = false;    // denied, or in audit mode would have been
  std::string container;  // what its id begins with; empty: all
  bool Wants(const policy::Json& record) const;
};

// Server-sent events, cut out of the bytes of a stream.
class EventStream {
 public:
  struct Event {
    std::string type;  // "message" where none was given
    std::string data;
  };
  void Feed(std::string_view bytes) { text_ += bytes; }
  // The next whole event; false: none yet.
  bool Next(Event& event);

 private:
  std::string text_;
};

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_EVENT_LINE_H_
