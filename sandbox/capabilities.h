// Reduces the capability sets of the calling thread, by libcap. Irreversible.
#ifndef LANDGATE_SANDBOX_CAPABILITIES_H_
#define LANDGATE_SANDBOX_CAPABILITIES_H_

#include "base/capability_names.h"
#include "base/result.h"

namespace landgate::sandbox {

// Intersects bounding, effective, permitted, inheritable and ambient sets with `keep`. Bits that
// this kernel does not know are ignored. The bounding set needs CAP_SETPCAP to shrink; where the
// caller lacks it and the set holds more than `keep`, that is an error only when no_new_privs is
// not set (with it the bounding set can give nothing).
Status ReduceCapabilities(CapabilitySet keep);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_CAPABILITIES_H_
