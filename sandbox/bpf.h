// A seccomp program out of rules "this system call, these arguments → errno", for the native
// architecture and its 32-bit companion.
//
// Why not libseccomp, which only names numbers here: it has no test "none of these values", so that
// "no family but these four" is a rule per bit, 2 ms for a network section where a container's
// start has 1 ms for everything; it refuses overlapping masks (EEXIST) or merges them silently; and
// it can't deny a call on the 32-bit companion that it has no number for. Here the first rule that
// holds decides, and an argument is always its low 32 bits, as the kernel takes an int. Pure.
#ifndef LANDGATE_SANDBOX_BPF_H_
#define LANDGATE_SANDBOX_BPF_H_

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace landgate::sandbox {

// Holds when the argument's `mask` bits are one of `values`, or none of them where `among` is
// false.
struct ArgumentTest {
  unsigned argument = 0;
  std::vector<uint32_t> values;
  uint32_t mask = 0xffffffffU;
  bool among = true;
};

// Instead of an errno: SECCOMP_RET_USER_NOTIF, the call waits for whoever has the listener.
inline constexpr int kNotify = -1;

struct ErrnoRule {
  std::string syscall;
  std::vector<ArgumentTest> tests;  // all must hold; none: unconditional
  int error_number = 0;             // or kNotify
};

// Calls that no rule matches are allowed; of other architectures (x32) they answer ENOSYS.
// A name that neither libseccomp nor our table of newer calls knows is refused; one that an
// architecture lacks is left out for it. Calls that x86 and s390 also reach through socketcall(2)
// or ipc(2) must be closed there by rules for those two.
Result<std::vector<sock_filter>> Assemble(const std::vector<ErrnoRule>& rules);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_BPF_H_
