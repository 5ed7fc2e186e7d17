#include "hook/init/session.h"

#include <errno.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "base/files.h"
#include "base/unique_fd.h"

namespace landgate::init {

Result<std::optional<sandbox::CommandLine>> AskForSession() {
  const long answer =
      syscall(sandbox::kMarkerSyscall, sandbox::kMarker, sandbox::kMarkerVersion, 0L);
  if (answer < 0) {
    // A descriptor was meant for us and there was no room for it.
    if (errno == EMFILE || errno == ENOMEM) return SystemError("exec session", errno);
    // ENOSYS from the kernel or the agent, or whatever the engine's profile answers.
    return std::optional<sandbox::CommandLine>();
  }
  const UniqueFd file(static_cast<int>(answer));
  Result<std::string> bytes = ReadAll(file, sandbox::kMaxEncodedCommandLine);
  if (!bytes) return Context("exec session", bytes);
  Result<sandbox::CommandLine> command = sandbox::DecodeCommandLine(*bytes);
  if (!command) return Context("exec session", command);
  return std::optional<sandbox::CommandLine>(std::move(*command));
}

}  // namespace landgate::init
