// Linux capabilities by name, as capabilities(7) spells them. The table is ours because a policy
// must be readable where it is decided, not only on a kernel that knows the name.
#ifndef LANDGATE_BASE_CAPABILITY_NAMES_H_
#define LANDGATE_BASE_CAPABILITY_NAMES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace landgate {

using CapabilitySet = uint64_t;  // bit N = capability number N

inline constexpr int kCapabilityCount = 41;  // CAP_CHOWN … CAP_CHECKPOINT_RESTORE (Linux 5.9)
inline constexpr CapabilitySet kAllCapabilities = (CapabilitySet{1} << kCapabilityCount) - 1;

std::string_view CapabilityName(int number);                  // "" out of range
std::optional<int> CapabilityNumber(std::string_view name);   // "CAP_SYS_ADMIN"
std::vector<std::string> CapabilityNames(CapabilitySet set);  // ascending

}  // namespace landgate

#endif  // LANDGATE_BASE_CAPABILITY_NAMES_H_
