// The sockets of the control API. Thread-safe.
#ifndef LANDGATE_AGENT_CONTROL_CONTROL_SOCKET_H_
#define LANDGATE_AGENT_CONTROL_CONTROL_SOCKET_H_

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

// The group whose members may use the control socket, where it exists.
inline constexpr const char* kControlGroup = "landgate";

// A listening socket at `path` that only this user can connect to (0600), or the members of `group`
// too (0660) where this process is root and the group exists. It appears at `path` complete: made
// under a name of its own and renamed. What lies there already must be a socket that nobody listens
// on any more; a live one, or anything that is no socket, is an error and stays.
Result<UniqueFd> ListenOnControlSocket(const std::string& path, const char* group = kControlGroup);

// Removes `path` where it is a socket that nobody listens on (any more); for a clean stop.
void RemoveControlSocket(const std::string& path);

// "127.0.0.1:9464", "[::1]:9464", "0.0.0.0:9464": a listening TCP socket (config `metrics.listen`).
Result<UniqueFd> ListenOnTcp(std::string_view address);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_CONTROL_SOCKET_H_
