// THE table of system calls that the agent handles: name, number, category, and which argument
// plays which role. Decoding derives from it (path_request.h, destination_request.h); to handle
// another call is to add a line, and where what it does is new, a value of `CallKind`.
//
// Numbers are those of the architecture that this program is built for; a call that exists there
// under no number (open on aarch64) has no line. Calls of another architecture (i386, x32) are not
// found: whoever handles them says what that means. Pure; thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_CALLS_H_
#define LANDGATE_AGENT_HANDLERS_CALLS_H_

#include <cstdint>
#include <span>
#include <string_view>

namespace landgate::agent {

enum class Category : uint8_t {
  kPath,     // names files
  kExec,     // executes one
  kNetwork,  // names a peer or an own address
  kMarker,   // the launcher's question, which is no system call of anybody else's
};

enum class CallKind : uint8_t {
  kOpen,     // flags (and mode) decide
  kOpenHow,  // flags, mode and resolve stand in a struct open_how
  kCreat,    // O_WRONLY | O_CREAT | O_TRUNC
  kTruncate,
  kMakeDirectory,
  kMakeNode,  // mode decides of what type
  kMakeSymlink,
  kRemoveFile,
  kRemoveDirectory,
  kUnlink,  // flags decide: AT_REMOVEDIR
  kRename,  // two names
  kLink,    // two names
  kExecute,
  kConnect,
  kBind,
  kAsk,  // the marker
};

// The index of the argument that plays the role, or kAbsent.
inline constexpr int8_t kAbsent = -1;
struct Roles {
  int8_t dirfd = kAbsent;  // absent: the working directory
  int8_t path = kAbsent;
  int8_t second_dirfd = kAbsent;
  int8_t second_path = kAbsent;
  int8_t flags = kAbsent;
  int8_t mode = kAbsent;
  int8_t structure = kAbsent;  // of type struct open_how or struct sockaddr
  int8_t size = kAbsent;       // of that structure
  int8_t descriptor = kAbsent;
};

struct CallInfo {
  std::string_view name;
  int number = -1;
  Category category = Category::kPath;
  CallKind kind = CallKind::kOpen;
  Roles roles;
};

// Every line.
std::span<const CallInfo> Calls();
// The line of a notification; null: none. `arch` is seccomp_data's (AUDIT_ARCH_*).
const CallInfo* FindCall(uint32_t arch, int number);
const CallInfo* FindCall(std::string_view name);

// What the launcher asks by (nfsservctl, which no kernel since 3.1 has): ENOSYS to everybody else.
inline constexpr uint64_t kMarkerArgument = 0x4c47;

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_CALLS_H_
