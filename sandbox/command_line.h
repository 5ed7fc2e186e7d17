// What the agent and the launcher say to each other about an exec session: the marker call by which
// the launcher asks, and the descriptor that it gets.
//
// The marker call is nfsservctl(kMarker, kMarkerVersion, 0): no kernel since 3.1 implements it, so
// where nobody of ours listens it is ENOSYS, or what the engine's profile says. A descriptor number
// is the answer for an exec session: a sealed memfd with the command line that its runtime was
// about to execute.
//
//   magic "LGX1", u32 number of arguments, u32 number of environment entries (little-endian),
//   then NUL-terminated, without anything between or after: path, arguments, environment.
//
// Pure; thread-safe.
#ifndef LANDGATE_SANDBOX_COMMAND_LINE_H_
#define LANDGATE_SANDBOX_COMMAND_LINE_H_

#include <sys/syscall.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace landgate::sandbox {

inline constexpr long kMarkerSyscall = SYS_nfsservctl;
inline constexpr uint64_t kMarker = 0x4c47;  // "LG"
inline constexpr uint64_t kMarkerVersion = 1;

struct CommandLine {
  std::string path;  // as execve(2) gets it: nothing is searched in PATH
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  bool operator==(const CommandLine&) const = default;
};

// More than a kernel takes for one execve(2) (three quarters of the 8 MiB that stacks are granted).
inline constexpr size_t kMaxEncodedCommandLine = size_t{8} << 20;

// No string holds a NUL.
std::string EncodeCommandLine(const CommandLine& command);
// Strict. The sender is trusted; a message that is not right is a bug or another version.
Result<CommandLine> DecodeCommandLine(std::string_view bytes);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_COMMAND_LINE_H_
