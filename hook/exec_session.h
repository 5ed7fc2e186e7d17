// What landgate-runtime does with an exec session.
#ifndef LANDGATE_HOOK_EXEC_SESSION_H_
#define LANDGATE_HOOK_EXEC_SESSION_H_

#include <optional>
#include <string>
#include <vector>

#include "base/capability_names.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "hook/record.h"
#include "hook/runtime_command.h"
#include "node/config.h"

namespace landgate::hook {

// The record of the container that `command` (exec, checkpoint, …) is about. Absent: it has no
// policy. A container without a record whose bundle is patched is an error: something removed the
// record, and nothing about the container is known.
Result<std::optional<Record>> FindRecord(const node::Config& config, const std::string& runtime,
                                         const RuntimeCommand& command);

// Launcher and plan still stand in the container's mount namespace; looked at from a child that
// enters it, and not through /proc/PID/root, because the process may have changed its root.
Status VerifyLauncher(const Record& record);

// The arguments with which the real runtime starts the session under the launcher. `document` holds
// the patched process document, which they name through /proc/self/fd; it must stay open over the
// exec of the runtime. Both runtimes keep it from the container: its number is beyond those that
// --preserve-fds and LISTEN_FDS hand over.
struct ConfinedExec {
  std::vector<std::string> arguments;
  UniqueFd document;
};
Result<ConfinedExec> ConfineExec(const RuntimeCommand& command,
                                 const std::optional<CapabilitySet>& keep);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_EXEC_SESSION_H_
