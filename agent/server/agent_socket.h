// The socket that runtimes and hooks connect to. Thread-safe.
#ifndef LANDGATE_AGENT_SERVER_AGENT_SOCKET_H_
#define LANDGATE_AGENT_SERVER_AGENT_SOCKET_H_

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

// Makes `path`, 0600, and its directory (0755) where that is missing. It appears complete: made
// under another name and renamed. A socket that somebody listens on, or anything that is no socket,
// is an error and stays.
Result<UniqueFd> ListenOnAgentSocket(const std::string& path);

// What says that the file at `path` is the same that it was: kept beside the socket, so that a
// successor knows whether its predecessor's socket can still be reached. Empty: there is none.
std::string SocketIdentity(const std::string& path);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_AGENT_SOCKET_H_
