// The launcher's start under the entrypoint's name: the configuration was not patched, and prestart
// has mounted the launcher over the file that the runtime executed (docs/pure-prestart.md).
//
// It speaks with the agent over kAgentSocketPath, a socket that exists for this one conversation:
//
//   agent      "ready ID\n"                the launcher is off the entrypoint; ID is the
//   container's launcher   a ContainerProcessState with the listener, as runtimes send it; only
//   where the plan
//              asks for one
//   agent      "kept\n"                    the listener is served
//
// Anything else ends the launcher: nothing runs that the agent did not let go.
#ifndef LANDGATE_HOOK_INIT_OVER_MOUNTED_H_
#define LANDGATE_HOOK_INIT_OVER_MOUNTED_H_

#include <string>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::init {

class AgentConnection {
 public:
  // Connects and waits until the launcher is off the entrypoint. Impossible: nobody is there.
  static Result<AgentConnection> Open();
  // Hands the listener over and waits until it is served. Closes it.
  Status SendListener(UniqueFd listener);

 private:
  AgentConnection(UniqueFd socket, std::string id)
      : socket_(std::move(socket)), id_(std::move(id)) {}

  UniqueFd socket_;
  std::string id_;
};

// The path by which this program was executed: what the runtime resolved, and what is the workload
// again now.
const char* ExecutedPath();

}  // namespace landgate::init

#endif  // LANDGATE_HOOK_INIT_OVER_MOUNTED_H_
