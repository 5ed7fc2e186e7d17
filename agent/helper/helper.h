// The helper's process: `landgate-agent helper` (internal). It performs operations on behalf of the
// serving process, one at a time, outlives it, and finishes what it has begun.
//
// Its channel is descriptor 3 and the shared memory of area.h is descriptor 4; helper_pool.h starts
// it that way. It reads requests until the serving process has closed its end, which its death does
// too, and then ends. For an operation that must happen at most once it writes into the operation's
// OnceRecord that it starts, and then the outcome, so both survive everybody.
//
// It stays in the host's pid namespace and in the agent's cgroup, so that no container can signal,
// trace or freeze it, and ignores the signals by which a terminal or a service manager asks
// processes to end.
#ifndef LANDGATE_AGENT_HELPER_HELPER_H_
#define LANDGATE_AGENT_HELPER_HELPER_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "base/unique_fd.h"

namespace landgate::agent {

struct OperationInput {
  std::string_view bytes;         // what the requester passed
  std::span<const UniqueFd> fds;  // closed when the operation returns
};

struct NamedOperation {
  std::string_view name;
  // Performs it; returns a value >= 0, or -errno. Run by a process with a single thread.
  int64_t (*perform)(const OperationInput& input);
  // It leaves the process in another state than it found it (namespaces, identity, umask, limits,
  // Landlock): the helper ends after it and is not used again.
  bool spends_helper = false;
};

// The operations of this build, by index: helper_operations.cc.
std::span<const NamedOperation> HelperOperations();

// The process. `operations` is HelperOperations() but in tests. Returns the exit status.
int HelperMain(std::span<const NamedOperation> operations);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HELPER_HELPER_H_
