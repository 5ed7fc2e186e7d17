// The seccomp filter of a floor: errno rules as BPF, loaded by the launcher. It is stacked on the
// engine's profile, so it can only take away.
//
// Every test of an int argument looks at its low 32 bits (the kernel ignores the rest), socket
// types are tested with & 0xf. The filter covers the native architecture and its 32-bit companion;
// calls of any other (x32) answer ENOSYS. The multiplexers socketcall(2) and ipc(2) of 32-bit
// programs answer ENOSYS when a call that they reach has a rule. Pure; thread-safe.
#ifndef LANDGATE_SANDBOX_FILTER_H_
#define LANDGATE_SANDBOX_FILTER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/network_floor.h"
#include "sandbox/filter_load.h"  // LoadFilter

namespace landgate::sandbox {

// One line of `landgatectl policy compile`.
struct FilterRule {
  std::string syscall;
  std::string condition;  // "" unconditional; else readable: "family other than UNIX, INET, …"
  int error_number = 0;
  std::string because;  // "network section", "syscalls.deny", "masks hold", …
};

struct FilterRequest {
  std::vector<std::string> denied_syscalls;  // EPERM
  bool deny_mount_api = true;                // every policy: launcher, plan and masks stay mounted
  bool deny_user_namespaces = false;         // a capabilities section
  policy::NetworkFloor network;              // restricts == false: no socket rules
  // System calls opened in the engine's profile for the launcher: denied again, with the errno
  // that the profile would have given.
  std::vector<std::string> closed_again;
  int closed_errno = 1;
};

// The rules in words and the BPF program (struct sock_filter[]). Unknown names were refused before.
struct Filter {
  std::vector<FilterRule> rules;
  std::vector<uint8_t> program;
};
Result<Filter> BuildFilter(const FilterRequest& request);

// A program (struct sock_filter[]) by which each of these calls, whatever its arguments, waits for
// whoever has the listener, and every other is allowed.
Result<std::vector<uint8_t>> BuildNotifyFilter(const std::vector<std::string>& syscalls);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_FILTER_H_
