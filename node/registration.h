// What a hook tells the agent about a container, and how: one JSON object with descriptors over the
// agent's socket, answered by one JSON object.
//
//   {"landgate": {"register": {…}}}        with [pidfd, mount namespace] as SCM_RIGHTS, and where
//                                          there are over-mounts the launcher's socket
//   {"landgate": {"unregister": {"id": "…"}}}
//   answer: {"ok": true} or {"error": "…"}
//
// The sender shuts its writing side down after the object, and the agent closes after its answer.
// Pure but for the client (registration_client.cc); thread-safe.
#ifndef LANDGATE_NODE_REGISTRATION_H_
#define LANDGATE_NODE_REGISTRATION_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci-specs/annotations.h"
#include "policy/document.h"
#include "sandbox/masks.h"
#include "sandbox/plan.h"

namespace landgate::node {

// The over-mount of the pure prestart shape: the launcher stands on what the runtime will execute
// until the agent takes it away. One for each file that may be it.
struct OverMount {
  std::string path;          // resolved in the container
  sandbox::ObjectId object;  // what it covers
  uint64_t mount_id = 0;
  bool operator==(const OverMount&) const = default;
};

struct Registration {
  std::string id;
  // The container's first process as the hook sees it, which may be in another pid namespace than
  // the agent: who it is tells the pidfd that comes along, and the start time that it is this one.
  pid_t pid = 0;
  uint64_t start_time = 0;  // its, clock ticks since boot
  std::string bundle;
  std::string root;  // root.path, absolute on the host
  oci::Mode mode = oci::Mode::kEnforce;
  std::string front_end;                 // "precreate", "inject", "runtime", "prestart"
  bool listener_expected = false;        // its config.json has a listener of ours
  std::vector<policy::Policy> policies;  // merged; all must allow
  policy::ExecSessions exec_sessions = policy::ExecSessions::kConfined;
  std::string pod, pod_namespace, container_name;  // from the engine's annotations; may be empty
  sandbox::ObjectId launcher, plan;  // behind /dev/lg and /dev/lg.plan; zero in audit mode
  std::string floor_json;            // sandbox::FloorJson; empty in audit mode
  sandbox::MountSteps mounts;        // masks, pins, binds-back as they were placed
  std::vector<OverMount> over_mounts;
};

std::string EncodeRegistration(const Registration& registration);
// Decodes the object under "register". Strict.
Result<Registration> DecodeRegistration(std::string_view json);

// How long a hook waits for the agent. An agent that is being restarted answers when it is back:
// meanwhile its socket accepts, because that is kept for it.
inline constexpr std::chrono::seconds kAgentPatience{10};

// A connection to the agent; an invalid descriptor where nobody accepts one, or somebody who is
// neither root nor the user of this process. Costs one connect(2) where there is no agent. It may
// stay idle: a hook connects while it still is in the host's mount namespace.
UniqueFd ConnectToAgent(const std::string& agent_socket);
bool AgentAnswers(const std::string& agent_socket);

// Impossible: no agent, or none that answered within ten seconds; Refuse: it says no, with its
// reason. After any failure but the first the agent may have the container all the same:
// UnregisterFromAgent.
// `launcher_socket` is sent where there are over-mounts: it listens, and the launcher connects to
// it.
Status RegisterWithAgent(UniqueFd connection, const Registration& registration, BorrowedFd process,
                         BorrowedFd mount_namespace, BorrowedFd launcher_socket = BorrowedFd(-1));
Status RegisterWithAgent(const std::string& agent_socket, const Registration& registration,
                         BorrowedFd process, BorrowedFd mount_namespace);
// No agent is no error: it collects what hung up.
Status UnregisterFromAgent(const std::string& agent_socket, const std::string& id,
                           std::chrono::milliseconds patience = kAgentPatience);

}  // namespace landgate::node

#endif  // LANDGATE_NODE_REGISTRATION_H_
