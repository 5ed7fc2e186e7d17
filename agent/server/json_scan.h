// Is the JSON object that begins here complete? Fed with pieces as they arrive; looks at brackets
// and strings only, so a decoder must still read what it finds. No allocation, linear.
#ifndef LANDGATE_AGENT_SERVER_JSON_SCAN_H_
#define LANDGATE_AGENT_SERVER_JSON_SCAN_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace landgate::agent {

class JsonScan {
 public:
  enum class State {
    kMore,      // not complete yet
    kComplete,  // `length` bytes from the beginning are the object; what follows is not part of it
    kNoObject,  // can't become an object: does not begin with '{', a bracket too many, a NUL
  };
  // `piece` follows what was fed before. After kComplete and kNoObject nothing changes any more.
  State Feed(std::string_view piece);
  State state() const { return state_; }
  size_t length() const { return length_; }

 private:
  State Next(char c);

  State state_ = State::kMore;
  size_t length_ = 0;
  uint64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_JSON_SCAN_H_
