// Starts a holder, for the serving process. Thread-safe.
#ifndef LANDGATE_AGENT_HOLDER_HOLDER_START_H_
#define LANDGATE_AGENT_HOLDER_HOLDER_START_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

// Connects to the holder at `socket_path`, who must run as root or as this process's own user.
// ENOENT, ECONNREFUSED: none is there.
Result<UniqueFd> ConnectToHolder(const std::string& socket_path);

// Runs `program` hold --socket PATH --background, which returns when its holder accepts
// connections. That holder is in a session of its own and nobody's child. What it has to say in the
// case of an error it says on stderr.
Status StartHolder(const std::string& program, const std::string& socket_path);

// This process's environment without what systemd said to this process alone (NOTIFY_SOCKET,
// LISTEN_FDS, …), for programs that outlive it.
std::vector<std::string> EnvironmentForChildren();

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HOLDER_HOLDER_START_H_
