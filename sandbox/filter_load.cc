#include "sandbox/filter_load.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace landgate::sandbox {

Status LoadFilter(const std::vector<uint8_t>& program) {
  const size_t count = program.size() / sizeof(sock_filter);
  if (program.empty() || program.size() % sizeof(sock_filter) || count > BPF_MAXINSNS) {
    return Failure(Error{"a filter of " + std::to_string(program.size()) + " bytes is none", EINVAL,
                         ExitStatus::kRefused});
  }
  std::vector<sock_filter> instructions(count);  // for the alignment
  std::memcpy(instructions.data(), program.data(), program.size());
  const sock_fprog filter{static_cast<unsigned short>(count), instructions.data()};
  // No flags. SPEC_ALLOW would keep the speculation mitigations of kernels before 5.16 from being
  // switched on for the workload: that is the administrator's choice, not a policy's.
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &filter) < 0) {
    return SystemError("seccomp", errno);
  }
  return {};
}

}  // namespace landgate::sandbox
