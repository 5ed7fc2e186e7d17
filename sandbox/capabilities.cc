#include "sandbox/capabilities.h"

#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

namespace landgate::sandbox {
namespace {

struct FreeCaps {
  void operator()(cap_t caps) const { (void)cap_free(caps); }  // only fails for what is no cap_t
};
using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCaps>;

constexpr std::array kFlags = {CAP_EFFECTIVE, CAP_PERMITTED, CAP_INHERITABLE};

std::string Name(cap_value_t number) {
  const std::string_view name = CapabilityName(number);  // none: newer than our table
  return name.empty() ? "capability " + std::to_string(number) : std::string(name);
}

bool Keeps(CapabilitySet keep, cap_value_t number) { return keep >> number & 1; }

bool Has(const Caps& caps, cap_value_t number, cap_flag_t flag) {
  cap_flag_value_t value = CAP_CLEAR;
  return cap_get_flag(caps.get(), number, flag, &value) == 0 && value == CAP_SET;
}

Status Apply(const Caps& caps) {
  if (cap_set_proc(caps.get()) < 0) return SystemError("capset", errno);
  return {};
}

// Shrinking the bounding set needs CAP_SETPCAP in effect. A process that has it permitted but not
// effective may use it all the same.
Status ReduceBounding(CapabilitySet keep, const Caps& caps) {
  bool raised = false;
  for (cap_value_t number = 0; number < cap_max_bits(); ++number) {
    if (Keeps(keep, number) || cap_get_bound(number) != 1) continue;
    if (!raised && !Has(caps, CAP_SETPCAP, CAP_EFFECTIVE) &&
        Has(caps, CAP_SETPCAP, CAP_PERMITTED)) {
      const cap_value_t setpcap = CAP_SETPCAP;
      if (cap_set_flag(caps.get(), CAP_EFFECTIVE, 1, &setpcap, CAP_SET) < 0) {
        return SystemError("cap_set_flag", errno);
      }
      if (Status raise = Apply(caps); !raise) return raise;
      raised = true;
    }
    if (cap_drop_bound(number) == 0) continue;
    const int error = errno;
    // With no_new_privs no execve can take anything from the bounding set.
    if (error == EPERM && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return {};
    return SystemError("bounding set: " + Name(number), error);
  }
  return {};
}

Status ReduceAmbient(CapabilitySet keep) {
  if (!CAP_AMBIENT_SUPPORTED()) return {};
  for (cap_value_t number = 0; number < cap_max_bits(); ++number) {
    if (Keeps(keep, number) || cap_get_ambient(number) != 1) continue;
    if (cap_set_ambient(number, CAP_CLEAR) < 0) {
      return SystemError("ambient set: " + Name(number), errno);
    }
  }
  return {};
}

Status ReduceProcessSets(CapabilitySet keep, const Caps& caps) {
  for (const cap_flag_t flag : kFlags) {
    for (cap_value_t number = 0; number < cap_max_bits(); ++number) {
      if (Keeps(keep, number)) continue;
      if (cap_set_flag(caps.get(), flag, 1, &number, CAP_CLEAR) < 0) {
        return SystemError("cap_set_flag", errno);
      }
    }
  }
  // The order of the three is no matter: capset changes them in one call.
  return Apply(caps);
}

// Trusts the kernel's answer, not the calls that were made.
Status Verify(CapabilitySet keep) {
  const Caps caps(cap_get_proc());
  if (!caps) return SystemError("capget", errno);
  for (cap_value_t number = 0; number < cap_max_bits(); ++number) {
    if (Keeps(keep, number)) continue;
    bool left = CAP_AMBIENT_SUPPORTED() && cap_get_ambient(number) == 1;
    for (const cap_flag_t flag : kFlags) left = left || Has(caps, number, flag);
    if (left) {
      return Refuse(Name(number) + " could not be dropped");
    }
  }
  return {};
}

}  // namespace

Status ReduceCapabilities(CapabilitySet keep) {
  // What the caller had in effect; ReduceBounding may raise CAP_SETPCAP in between.
  const Caps before(cap_get_proc());
  const Caps raised(cap_get_proc());
  if (!before || !raised) return SystemError("capget", errno);
  if (Status done = ReduceBounding(keep, raised); !done) return done;
  if (Status done = ReduceAmbient(keep); !done) return done;
  if (Status done = ReduceProcessSets(keep, before); !done) return done;
  return Verify(keep);
}

}  // namespace landgate::sandbox
