#include "sandbox/filter_load.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/linux_abi.h"

namespace landgate::sandbox {

namespace {

Result<long> Load(const std::vector<uint8_t>& program, unsigned long flags) {
  const size_t count = program.size() / sizeof(sock_filter);
  if (program.empty() || program.size() % sizeof(sock_filter) || count > BPF_MAXINSNS) {
    return Failure(Error{"a filter of " + std::to_string(program.size()) + " bytes is none", EINVAL,
                         ExitStatus::kRefused});
  }
  std::vector<sock_filter> instructions(count);  // for the alignment
  std::memcpy(instructions.data(), program.data(), program.size());
  const sock_fprog filter{static_cast<unsigned short>(count), instructions.data()};
  // SPEC_ALLOW is never among the flags: it would keep the speculation mitigations of kernels
  // before 5.16 from being switched on for the workload, which is the administrator's choice.
  const long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (result < 0) return SystemError("seccomp", errno);
  return result;
}

}  // namespace

Status LoadFilter(const std::vector<uint8_t>& program) {
  Result<long> loaded = Load(program, 0);
  if (!loaded) return Forward(loaded);
  return {};
}

Result<UniqueFd> LoadNotifyFilter(const std::vector<uint8_t>& program) {
  constexpr unsigned long kListener = SECCOMP_FILTER_FLAG_NEW_LISTENER;
  unsigned long flags = kListener | abi::kSeccompWaitKillableRecv;
  Result<long> listener = Load(program, flags);
  if (!listener && listener.error().error_number == EINVAL) {
    flags = kListener;
    listener = Load(program, flags);
  }
  if (!listener && listener.error().error_number == EACCES) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return SystemError("no_new_privs", errno);
    listener = Load(program, flags);
  }
  if (!listener) return Forward(listener);
  return UniqueFd(static_cast<int>(*listener));  // close-on-exec from birth
}

}  // namespace landgate::sandbox
