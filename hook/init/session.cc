#include "hook/init/session.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "base/files.h"
#include "base/unique_fd.h"

namespace landgate::init {

namespace {

// Where the agent dies at the moment of its answer the kernel may say 0 without having installed
// anything (seccomp_unotify(2): the answer is there before the descriptor), and 0 is somebody's
// standard input. What is meant is a memfd that nobody can change.
bool IsOurs(int fd) {
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  const int seals = fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & kSeals) == kSeals;
}

// Each question waits for the next agent.
constexpr int kMostQuestions = 100;

}  // namespace

Result<std::optional<sandbox::CommandLine>> AskForSession() {
  for (int asked = 0; asked < kMostQuestions; ++asked) {
    const long answer =
        syscall(sandbox::kMarkerSyscall, sandbox::kMarker, sandbox::kMarkerVersion, 0L);
    if (answer < 0) {
      // A descriptor was meant for us and there was no room for it.
      if (errno == EMFILE || errno == ENOMEM) return SystemError("exec session", errno);
      // ENOSYS from the kernel or the agent, or whatever the engine's profile answers.
      if (asked == 0) return std::optional<sandbox::CommandLine>();
      break;
    }
    if (!IsOurs(static_cast<int>(answer))) continue;
    const UniqueFd file(static_cast<int>(answer));
    Result<std::string> bytes = ReadAll(file, sandbox::kMaxEncodedCommandLine);
    if (!bytes) return Context("exec session", bytes);
    Result<sandbox::CommandLine> command = sandbox::DecodeCommandLine(*bytes);
    if (!command) return Context("exec session", command);
    return std::optional<sandbox::CommandLine>(std::move(*command));
  }
  return Impossible("exec session: its command line was lost when the agent ended; start it again");
}

}  // namespace landgate::init
