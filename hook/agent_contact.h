// The prestart hook and the agent: whether there is one, and what it is told of the container.
//
// The connection is made before the hook enters the container's namespaces, where the agent's
// socket may not be found and the hook may be nobody. Where no agent answers this costs one
// connect(2).
#ifndef LANDGATE_HOOK_AGENT_CONTACT_H_
#define LANDGATE_HOOK_AGENT_CONTACT_H_

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "hook/front_end.h"
#include "hook/record.h"
#include "node/config.h"
#include "node/registration.h"

namespace landgate::hook {

struct AgentContact {
  UniqueFd connection;  // invalid: no agent answers, and none is needed
  UniqueFd process;     // pidfd of the container's first process
};

// Impossible: the container needs an agent and none answers.
Result<AgentContact> ContactAgent(const node::Config& config, const Prepared& prepared, pid_t pid);

// What the agent is to know, but for floor and mounts.
node::Registration Describe(const Prepared& prepared, const Request& request, const Record& record,
                            const std::string& root_path);

// Nothing where there is no connection. No answer is a failure where the container needs an agent;
// a refusal always is. After a failure the agent is told to forget the container.
// `launcher_socket` goes along where there are over-mounts.
Status Register(const node::Config& config, const Prepared& prepared, AgentContact contact,
                const node::Registration& registration, BorrowedFd mount_namespace,
                BorrowedFd launcher_socket);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_AGENT_CONTACT_H_
