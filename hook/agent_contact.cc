#include "hook/agent_contact.h"

#include <stdio.h>

#include <utility>

#include "base/syscalls.h"
#include "oci-specs/annotations.h"

namespace landgate::hook {
namespace {

// It has just not answered; the message is there when it comes back.
constexpr std::chrono::milliseconds kFarewell{100};

}  // namespace

Result<AgentContact> ContactAgent(const node::Config& config, const Prepared& prepared, pid_t pid) {
  AgentContact contact;
  contact.connection = node::ConnectToAgent(config.agent_socket);
  if (!contact.connection.valid()) {
    if (!prepared.NeedsAgent(config)) return contact;
    const std::string start = "; start landgate-agent";
    if (!prepared.pure) {
      return Impossible("no agent answers on " + config.agent_socket +
                        ", and this container needs one" + start);
    }
    return Impossible("no agent answers on " + config.agent_socket +
                      ", and config.json is not prepared for the container's policy, which takes "
                      "one" +
                      start +
                      ", or use podman's precreate hook, `landgate-hook inject --bundle DIR`, or "
                      "landgate-runtime");
  }
  Result<UniqueFd> process = PidfdOpen(pid);
  if (!process) return Context("the container's process", process);
  contact.process = std::move(*process);
  return contact;
}

node::Registration Describe(const Prepared& prepared, const Request& request, const Record& record,
                            const std::string& root_path) {
  node::Registration registration;
  registration.id = record.id;
  registration.pid = record.pid;
  registration.start_time = record.start_time;
  registration.bundle = record.bundle;
  registration.root = root_path;
  registration.mode = prepared.mode;
  registration.front_end = FrontEndName(request.front_end);
  registration.listener_expected = prepared.listener == ListenerVariant::kAgent;
  registration.policies = prepared.policies;
  registration.exec_sessions = record.exec_sessions;
  oci::EngineNames names = oci::ReadEngineNames(prepared.view.annotations);
  registration.pod = std::move(names.pod);
  registration.pod_namespace = std::move(names.pod_namespace);
  registration.container_name = std::move(names.container);
  registration.launcher = record.launcher;
  registration.plan = record.plan;
  return registration;
}

Status Register(const node::Config& config, const Prepared& prepared, AgentContact contact,
                const node::Registration& registration, BorrowedFd mount_namespace,
                BorrowedFd launcher_socket) {
  if (!contact.connection.valid()) return {};
  Status registered = node::RegisterWithAgent(std::move(contact.connection), registration,
                                              contact.process, mount_namespace, launcher_socket);
  // An agent that says no has not got it, and may have another one of that id.
  if (registered || registered.error().status == ExitStatus::kRefused) return registered;
  // One that says nothing counts as none, but may have it or get it yet.
  if (!prepared.NeedsAgent(config)) {
    fprintf(stderr, "landgate-hook: %s; container %s needs none and starts without\n",
            registered.error().message.c_str(), registration.id.c_str());
    return {};
  }
  (void)node::UnregisterFromAgent(config.agent_socket, registration.id,
                                  kFarewell);  // the first error counts
  return registered;
}

}  // namespace landgate::hook
