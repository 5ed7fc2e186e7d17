// What runtimes and hooks say to the agent, decoded: the JSON object of one connection together
// with its descriptors.
//
//   a runtime   ContainerProcessState (oci-specs/state.h) with descriptors, one of them the
//   listener a hook      {"landgate": {…}} (node/registration.h)
//
// Descriptors that no message has a use for are closed here. Thread-safe.
#ifndef LANDGATE_AGENT_SERVER_MESSAGE_H_
#define LANDGATE_AGENT_SERVER_MESSAGE_H_

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "node/registration.h"
#include "oci-specs/state.h"

namespace landgate::agent {

struct ListenerMessage {
  oci::ContainerProcessState process;
  UniqueFd listener;
};
struct RegisterMessage {
  node::Registration registration;  // pid as this process sees it
  UniqueFd process, mount_namespace;
  UniqueFd launcher_socket;  // listens; where there are over-mounts
};
struct UnregisterMessage {
  std::string id;
};
using Message = std::variant<ListenerMessage, RegisterMessage, UnregisterMessage>;

// True where the object is a hook's, which waits for an answer; decoding may fail all the same.
bool IsFromHook(std::string_view json);

// Of a listener's descriptors the one that `fds` calls "seccompFd" is taken, by its index, and must
// be a listener. A registration must bring the pidfd of the process that it names and a mount
// namespace.
Result<Message> DecodeMessage(std::string_view json, std::vector<UniqueFd> fds);

// What a hook is answered: {"ok": true}, {"error": "…"}.
std::string EncodeAnswer(const Status& outcome);

// When the process behind `pidfd` started (clock ticks since boot) and its pid here. Impossible: it
// has ended, or is not visible in this pid namespace.
struct ProcessIdentity {
  pid_t pid = 0;
  uint64_t start_time = 0;
};
Result<ProcessIdentity> IdentityOf(BorrowedFd pidfd);
// Has the process behind `pidfd` ended?
bool HasEnded(BorrowedFd pidfd);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_MESSAGE_H_
