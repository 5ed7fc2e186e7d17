// What the holder keeps beside a listener, so that a successor serves it as its predecessor did.
// Pure; thread-safe.
#ifndef LANDGATE_AGENT_SERVER_LISTENER_BLOB_H_
#define LANDGATE_AGENT_SERVER_LISTENER_BLOB_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/handlers/handlers.h"
#include "base/result.h"

namespace landgate::agent {

struct ListenerBlob {
  uint32_t region = 0;      // its index in the area; Region::listener must be the listener's key
  uint64_t container = 0;   // key of its kContainer; 0: nobody's, everything is answered ENOSYS
  uint64_t connection = 0;  // on which it came: not read again by a successor
  ListenerKind kind = ListenerKind::kMain;
  pid_t process = 0;  // as the runtime named it
  std::string id;     // of the container, for messages
  bool operator==(const ListenerBlob&) const = default;
};

std::string EncodeListenerBlob(const ListenerBlob& blob);  // fits kMaxBlobBytes
Result<ListenerBlob> DecodeListenerBlob(std::string_view bytes);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_LISTENER_BLOB_H_
