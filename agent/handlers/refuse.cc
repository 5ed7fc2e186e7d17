// A listener of nobody's: its profile came from somebody else, or its container was never
// registered. What its filter wanted to have decided is not done, and the caller sees what it would
// see with no agent at all.
#include <cerrno>
#include <utility>

#include "agent/handlers/handlers.h"

namespace landgate::agent {

Handler MakeRefusingHandler() {
  return [](Call& call) { (void)std::move(call.notification).Deny(ENOSYS); };
}

}  // namespace landgate::agent
