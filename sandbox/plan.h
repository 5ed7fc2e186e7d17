// The plan: everything the launcher does inside the container, decided beforehand.
//
// Made by Compile (compile.h) when the container's mounts stand, read by landgate-init from
// /dev/lg.plan. The wire format is little-endian, length-prefixed, versioned and rejects anything
// it does not know (docs/plan-format.md has the grammar). Pure; thread-safe.
#ifndef LANDGATE_SANDBOX_PLAN_H_
#define LANDGATE_SANDBOX_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/capability_names.h"
#include "base/result.h"

namespace landgate::sandbox {

inline constexpr std::string_view kLauncherPath = "/dev/lg";
inline constexpr std::string_view kPlanPath = "/dev/lg.plan";
inline constexpr std::string_view kAgentSocketPath = "/dev/lg.sock";

// A file system object: what statx(2) says. stx_mnt_id is no part of it, mounts come and go.
struct ObjectId {
  uint32_t dev_major = 0;
  uint32_t dev_minor = 0;
  uint64_t inode = 0;
  bool operator==(const ObjectId&) const = default;
};

struct PlannedPath {
  std::string path;                // resolved in the container: no symlink in it
  uint64_t rights = 0;             // LANDLOCK_ACCESS_FS_*, already fit for the object's type
  bool required = false;           // out of the user's reach: refuse instead of skipping
  std::optional<ObjectId> object;  // compared when the entrypoint starts, not in exec sessions
  bool operator==(const PlannedPath&) const = default;
};
struct PlannedPort {
  uint16_t port = 0;
  uint64_t rights = 0;  // LANDLOCK_ACCESS_NET_*
  bool operator==(const PlannedPort&) const = default;
};
struct PlannedLayer {
  std::string name;  // for messages: the policy's name
  uint64_t handled_fs = 0;
  uint64_t handled_net = 0;
  uint64_t scoped = 0;
  std::vector<PlannedPath> paths;
  std::vector<PlannedPort> ports;
  bool operator==(const PlannedLayer&) const = default;
};

struct Plan {
  std::vector<PlannedLayer> layers;   // restrict_self in this order; ≤ 15
  std::optional<CapabilitySet> keep;  // intersected into every capability set
  std::vector<uint8_t> filter;        // struct sock_filter[]; empty: none
  // Of a container whose config.json was not patched: the launcher stands on the entrypoint until
  // the agent, whom it asks at kAgentSocketPath, has taken it off.
  bool over_mounted = false;
  // struct sock_filter[] of what the agent is asked about, with a listener that the launcher makes
  // and sends there; empty: none.
  std::vector<uint8_t> notify;
  bool operator==(const Plan&) const = default;
};

inline constexpr size_t kMaxPlanBytes = size_t{4} << 20;

std::string EncodePlan(const Plan& plan);
// EINVAL-like refusals name the offset: "plan: offset 12: …". An empty text is its own error: the
// prestart hook has not put a plan in place.
Result<Plan> DecodePlan(std::string_view bytes);

}  // namespace landgate::sandbox

#endif  // LANDGATE_SANDBOX_PLAN_H_
