// Loads a filter of the plan. Apart from filter.h so that the launcher, which links no libseccomp,
// needs nothing of what builds filters.
#ifndef LANDGATE_SANDBOX_FILTER_LOAD_H_
#define LANDGATE_SANDBOX_FILTER_LOAD_H_

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace landgate::sandbox {

// Loads a program (struct sock_filter[], as BuildFilter makes it) into the calling thread.
// no_new_privs must be set. Irreversible; stacked on what is loaded already. EINVAL: not a filter.
Status LoadFilter(const std::vector<uint8_t>& program);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_FILTER_LOAD_H_
