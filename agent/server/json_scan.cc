#include "agent/server/json_scan.h"

namespace landgate::agent {

JsonScan::State JsonScan::Next(char c) {
  if (c == '\0') return State::kNoObject;
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
    }
    return State::kMore;
  }
  const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
  if (depth_ == 0 && !space && c != '{') return State::kNoObject;
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if ((c == '}' || c == ']') && --depth_ == 0) {
    return c == '}' ? State::kComplete : State::kNoObject;
  }
  return State::kMore;
}

JsonScan::State JsonScan::Feed(std::string_view piece) {
  for (const char c : piece) {
    if (state_ != State::kMore) break;
    ++length_;
    state_ = Next(c);
  }
  return state_;
}

}  // namespace landgate::agent
