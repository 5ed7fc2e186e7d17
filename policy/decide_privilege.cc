#include "policy/decide_privilege.h"

#include <errno.h>

#include <algorithm>
#include <string>

#include "base/capability_names.h"
#include "policy/syscall_table.h"

namespace landgate::policy {

Decision DecideCapability(const Policy& policy, int capability) {
  const bool named = capability >= 0 && capability < kCapabilityCount;
  if (!policy.capabilities) return {Verdict::kAllow, 0, Reason::kNotCovered, ""};
  const Capabilities& section = *policy.capabilities;
  // A capability newer than the table can't be named, and so is not among those that are kept.
  const CapabilitySet bit = named ? CapabilitySet{1} << capability : 0;
  if (section.ask & bit) {
    return {Verdict::kAsk, EPERM, Reason::kRule, section.origin.pointer + "/ask"};
  }
  if (!section.keep) return {Verdict::kAllow, 0, Reason::kNotCovered, ""};
  if (*section.keep & bit) {
    return {Verdict::kAllow, 0, Reason::kRule, section.origin.pointer + "/keep"};
  }
  return {Verdict::kDeny, EPERM, Reason::kRule, section.origin.pointer + "/keep"};
}

Decision DecideSyscall(const Policy& policy, std::string_view name) {
  if (std::find(policy.denied_syscalls.begin(), policy.denied_syscalls.end(), name) !=
      policy.denied_syscalls.end()) {
    return {Verdict::kDeny, EPERM, Reason::kRule, "/syscalls/deny"};
  }
  const auto mount_api = MountApiSyscalls();
  if (std::find(mount_api.begin(), mount_api.end(), name) != mount_api.end()) {
    return {Verdict::kDeny, EPERM, Reason::kUnsupported, ""};
  }
  return {Verdict::kAllow, 0, Reason::kNotCovered, ""};
}

}  // namespace landgate::policy
