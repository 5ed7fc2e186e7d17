// Between a helper and the process that started it: packets of a SOCK_SEQPACKET socket pair. Both
// ends are the same build, so these are its own structures.
#ifndef LANDGATE_AGENT_HELPER_HELPER_MESSAGE_H_
#define LANDGATE_AGENT_HELPER_HELPER_MESSAGE_H_

#include <cstddef>
#include <cstdint>

namespace landgate::agent {

inline constexpr int kHelperChannel = 3;  // descriptors of a helper
inline constexpr int kHelperArea = 4;     // only where it performs at-most-once operations

struct HelperRequestHeader {
  uint64_t number = 0;  // of the request, repeated in its answer
  uint32_t operation = 0;
  uint32_t once = 0;  // 1: the following say which record it belongs to
  uint32_t region = 0, record = 0, claim = 0;
  uint32_t bytes = 0;  // that follow the header
};

struct HelperAnswer {
  uint64_t number = 0;
  int64_t value = 0;
  uint32_t performed = 0;  // 0: its record was no longer claimed for it, or it is not understood
  uint32_t filler = 0;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HELPER_HELPER_MESSAGE_H_
