// Loads a filter of the plan. Apart from filter.h so that the launcher, which links no libseccomp,
// needs nothing of what builds filters.
#ifndef LANDGATE_SANDBOX_FILTER_LOAD_H_
#define LANDGATE_SANDBOX_FILTER_LOAD_H_

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::sandbox {

// Loads a program (struct sock_filter[], as BuildFilter makes it) into the calling thread.
// no_new_privs must be set. Irreversible; stacked on what is loaded already. EINVAL: not a filter.
Status LoadFilter(const std::vector<uint8_t>& program);

// The same with a listener for the calls that the program answers with SECCOMP_RET_USER_NOTIF
// (Linux 5.0). EBUSY: the process has a filter with a listener already. no_new_privs is set only
// where the kernel demands it (without CAP_SYS_ADMIN). A signal does not interrupt a received call
// where the kernel can do that (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19).
Result<UniqueFd> LoadNotifyFilter(const std::vector<uint8_t>& program);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_FILTER_LOAD_H_
