// What the holder's process gives up before it serves. Irreversible.
#ifndef LANDGATE_AGENT_HOLDER_HOLDER_CONFINE_H_
#define LANDGATE_AGENT_HOLDER_HOLDER_CONFINE_H_

#include "base/result.h"

namespace landgate::agent {

// Raises the soft limit of descriptors to the hard one.
void RaiseDescriptorLimit();

// - capabilities: all but CAP_SYS_RESOURCE, where it is there. With it, descriptors can be handed
// on
//   when a container of the same user has filled the user's quota of descriptors on their way
//   (ETOOMANYREFS, unix(7)); without it the holder waits until there is room.
// - no_new_privs, and not dumpable: a process of the same user can't take the descriptors.
// - a seccomp filter with the system calls that the holder's loop and its C library make; any other
//   is EPERM. Not death, which would end the containers' listeners where nobody else holds them.
// `owns_socket_path`: it will unlink its socket at its end.
Status ConfineHolder(bool owns_socket_path);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HOLDER_HOLDER_CONFINE_H_
