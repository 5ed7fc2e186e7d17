#include "sandbox/compile.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/paths.h"
#include "policy/glob.h"
#include "policy/network_floor.h"
#include "policy/rights.h"
#include "policy/supported.h"
#include "sandbox/path_floor.h"
#include "sandbox/resolve.h"

namespace landgate::sandbox {
namespace {

using policy::Effect;
using policy::LandlockUse;
using policy::PathKind;
using policy::PathRule;
using policy::PathTarget;
using policy::Policy;
using policy::Rights;

// One place of the sixteen is left for a workload that confines itself.
constexpr size_t kMaxLayers = abi::kLandlockMaxLayers - 1;

// What a layer handles where no rule speaks of paths: granted beneath "/", so that nothing is
// restricted but mounts and the tracing of what is outside.
constexpr Rights kHandledAnyway = abi::kFsMakeBlock | abi::kFsRefer;

std::string Where(const policy::Origin& origin) { return origin.file + ": " + origin.pointer; }

// --- static
// ----------------------------------------------------------------------------------------

bool ReachesKernelTrees(const PathTarget& target) {
  return IsKernelPath(target.kind == PathKind::kGlob ? policy::LiteralPrefix(target.path)
                                                     : target.path);
}

// An allow beneath a maskedPath can't be put back by us: the runtime masks after the hooks.
Status CheckNothingAllowedBeneath(const Policy& policy, const PathRule& denial,
                                  const std::string& path) {
  if (denial.final) return {};
  for (const PathRule& rule : *policy.paths) {
    if (rule.effect != Effect::kAllow) continue;
    for (const PathTarget& target : rule.targets) {
      if (target.kind != PathKind::kGlob && IsBeneath(target.path, path)) {
        return Refuse(Where(rule.origin) + ": " + target.path + " lies beneath " + path +
                      ", which is denied, and /proc and /sys are not split; deny the single "
                      "paths instead");
      }
    }
  }
  return {};
}

Status AddStaticDeny(const Policy& policy, const PathRule& rule, const PathTarget& target,
                     StaticFloor& floor) {
  const std::string place = Where(rule.origin) + ": " + target.path;
  if (target.kind == PathKind::kGlob) {
    return Refuse(place + ": globs do not reach into /proc and /sys; name the paths");
  }
  if (target.path == "/proc") {
    return Refuse(place + ": no container starts without /proc; deny what is in it");
  }
  if (Status free = CheckNothingAllowedBeneath(policy, rule, target.path); !free) return free;
  constexpr Rights kMask = policy::kHandledByDefault;
  constexpr Rights kReadOnly = policy::kModify | policy::kDevice | policy::kExecute;
  if ((rule.rights & kMask) == kMask) {
    floor.masked_paths.push_back(target.path);
  } else if ((rule.rights & ~kReadOnly) == 0 &&
             (rule.rights & policy::kModify) == policy::kModify) {
    floor.readonly_paths.push_back(target.path);
  } else {
    return Refuse(place + ": in /proc and /sys a deny takes \"all\" or \"modify\"");
  }
  return {};
}

void SortUnique(std::vector<std::string>& texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
}

std::optional<CapabilitySet> KeptByAll(const std::vector<Policy>& policies) {
  std::optional<CapabilitySet> keep;
  for (const Policy& policy : policies) {
    if (!policy.capabilities || !policy.capabilities->keep) continue;
    keep = keep.value_or(kAllCapabilities) & *policy.capabilities->keep;
  }
  return keep;
}

// --- rights that this kernel has
// --------------------------------------------------------------------

struct RightKind {
  const char* prefix;
  int (*abi_of)(uint64_t);
  std::vector<std::string> (*names)(uint64_t);
};
const RightKind kFs{"fs.", policy::AbiOfRight, policy::RightNames};
const RightKind kNet{"net.", policy::AbiOfNetRight, policy::NetRightNames};
const RightKind kScope{"scope.", policy::AbiOfScope, policy::ScopeNames};

enum class Need { kAsThePolicySays, kBestEffort };

class Compilation {
 public:
  Compilation(const CompileInput& input, BorrowedFd root) : input_(input), root_(root) {}

  Result<Floor> Run() {
    if (Status paths = AddPaths(); !paths) return Forward(paths);
    for (size_t i = 0; i < input_.policies.size(); ++i) {
      if (Status layers = AddLayers(i); !layers) return Forward(layers);
    }
    if (floor_.plan.layers.size() > kMaxLayers) {
      return Refuse(std::to_string(floor_.plan.layers.size()) +
                    " Landlock layers; the kernel holds 16, and one is left to the workload: name "
                    "fewer policies and `landlock` documents");
    }
    if (Status filter = AddFilter(); !filter) return Forward(filter);
    floor_.plan.keep = KeptByAll(input_.policies);
    if (floor_.plan.layers.empty()) {
      floor_.landlock = Enforcement::kNone;
    } else {
      floor_.landlock = floor_.degraded.empty() ? Enforcement::kFull : Enforcement::kPartial;
    }
    return std::move(floor_);
  }

 private:
  // What of `wanted` this kernel has. What it lacks is refused, or reported.
  Result<uint64_t> Supported(const Policy& policy, const std::string& place, uint64_t wanted,
                             uint64_t available, const RightKind& kind, Need need) {
    for (uint64_t rest = wanted & ~available; rest != 0; rest &= rest - 1) {
      const uint64_t bit = uint64_t{1} << std::countr_zero(rest);
      Degradation lost;
      lost.policy = policy.name;
      lost.right = kind.prefix + kind.names(bit).front();
      lost.needed_abi = kind.abi_of(bit);
      lost.found_abi = input_.landlock_abi;
      // With minAbi, what is newer than that is taken where it is there.
      if (policy.landlock == LandlockUse::kRequired && need == Need::kAsThePolicySays &&
          policy.min_abi == 0) {
        const std::string needed = lost.needed_abi == 0
                                       ? "a kernel that knows it"
                                       : "Landlock ABI " + std::to_string(lost.needed_abi);
        return Impossible(place + ": " + lost.right + " needs " + needed + ", found ABI " +
                          std::to_string(lost.found_abi) +
                          "; say \"minAbi\" or \"landlock\": \"best-effort\" in `compatibility`");
      }
      floor_.degraded.push_back(std::move(lost));
    }
    return wanted & available;
  }

  Status CheckAbi(const Policy& policy) const {
    if (policy.landlock != LandlockUse::kRequired) return {};
    const int abi = input_.landlock_abi;
    if (abi == 0) {
      return Impossible(policy.file +
                        ": Landlock is required and not available (Linux 5.13, CONFIG_SECURITY_"
                        "LANDLOCK, and landlock among the kernel's lsm=); needed ABI " +
                        std::to_string(std::max(policy.min_abi, 1)) + ", found none");
    }
    if (abi < policy.min_abi) {
      return Impossible(policy.file + ": /compatibility/minAbi: needs Landlock ABI " +
                        std::to_string(policy.min_abi) + ", found " + std::to_string(abi));
    }
    return {};
  }

  // Every default right, and beyond those the ones that a rule names itself.
  static Rights WantedBy(const Policy& policy) {
    Rights wanted = policy::kHandledByDefault;
    for (const PathRule& rule : *policy.paths) {
      wanted |= rule.rights & ~policy::kAll;
      if (rule.names_unix) wanted |= policy::kUnix;
    }
    return wanted;
  }

  Status AddPaths() {
    std::vector<PathSection> sections;
    for (const Policy& policy : input_.policies) {
      handled_fs_.push_back(0);
      section_of_.push_back(-1);
      if (policy.landlock == LandlockUse::kOff) continue;
      if (Status abi = CheckAbi(policy); !abi) return abi;
      const Rights wanted = policy.paths ? WantedBy(policy) : kHandledAnyway;
      Result<uint64_t> handled = Supported(
          policy, policy.file + ": /paths", wanted, policy::FsRightsOfAbi(input_.landlock_abi), kFs,
          policy.paths ? Need::kAsThePolicySays : Need::kBestEffort);
      if (!handled) return Forward(handled);
      handled_fs_.back() = *handled;
      if (!policy.paths) continue;
      section_of_.back() = static_cast<int>(sections.size());
      sections.push_back({&policy, wanted, *handled});
    }
    if (sections.empty()) return {};
    Result<PathFloor> paths = CompilePaths(sections, root_, input_.refuse_shared_mounts);
    if (!paths) return Forward(paths);
    layers_ = std::move(paths->layers);
    floor_.mounts = std::move(paths->steps);
    floor_.means = std::move(paths->means);
    floor_.warnings = std::move(paths->warnings);
    return {};
  }

  Status AddLayers(size_t index) {
    const Policy& policy = input_.policies[index];
    const policy::NetworkFloor network = policy::CompileNetworkFloor(policy);
    if (!network.needs_agent.empty()) {
      const auto& first = network.needs_agent.front();
      return Refuse(Where(first.origin) + ": not supported in this build: " + first.why);
    }
    networks_.push_back(network);
    if (policy.landlock == LandlockUse::kOff) return {};

    PlannedLayer layer;
    layer.name = policy.name;
    layer.handled_fs = handled_fs_[index];
    if (Status paths = AddPlannedPaths(index, layer); !paths) return paths;
    if (Status ports = AddPorts(policy, network, layer); !ports) return ports;
    if (Status scopes = AddScopes(policy, layer); !scopes) return scopes;
    if ((layer.handled_fs | layer.handled_net | layer.scoped) != 0) {
      floor_.plan.layers.push_back(std::move(layer));
    }
    for (size_t i = 0; i < policy.landlock_layers.size(); ++i) {
      if (Status added = AddDocument(policy, i); !added) return added;
    }
    return {};
  }

  Status AddPlannedPaths(size_t index, PlannedLayer& layer) {
    if (section_of_[index] < 0) {
      if (layer.handled_fs == 0) return {};
      PlannedPath everything;
      everything.path = "/";
      everything.rights = layer.handled_fs;
      layer.paths.push_back(std::move(everything));
      return {};
    }
    layer.paths = std::move(layers_[static_cast<size_t>(section_of_[index])]);
    if (layer.paths.empty() && layer.handled_fs != 0) {
      return Refuse(input_.policies[index].file +
                    ": /paths: nothing in the container is allowed, so that no program could "
                    "start; allow [\"read\", \"execute\"] at least where the programs lie");
    }
    return {};
  }

  Status AddPorts(const Policy& policy, const policy::NetworkFloor& network, PlannedLayer& layer) {
    uint64_t wanted = 0;
    if (network.restricts && network.handle_connect) wanted |= abi::kNetConnectTcp;
    if (network.restricts && network.handle_bind) wanted |= abi::kNetBindTcp;
    Result<uint64_t> handled =
        Supported(policy, policy.file + ": /network", wanted,
                  policy::NetRightsOfAbi(input_.landlock_abi), kNet, Need::kAsThePolicySays);
    if (!handled) return Forward(handled);
    layer.handled_net = *handled;
    std::map<uint16_t, uint64_t> ports;
    for (const uint16_t port : network.connect_ports) ports[port] |= abi::kNetConnectTcp;
    for (const uint16_t port : network.bind_ports) ports[port] |= abi::kNetBindTcp;
    for (const auto& [port, rights] : ports) {
      if ((rights & *handled) != 0) layer.ports.push_back({port, rights & *handled});
    }
    return {};
  }

  Status AddScopes(const Policy& policy, PlannedLayer& layer) {
    uint64_t wanted = 0;
    if (policy.scopes) {
      wanted = *policy.scopes;
    } else {
      // On where they keep the workload from what it shares with the host.
      if (!input_.own_network_namespace) wanted |= abi::kScopeAbstractUnix;
      if (!input_.own_pid_namespace) wanted |= abi::kScopeSignal;
    }
    Result<uint64_t> scoped = Supported(policy, policy.file + ": /scopes", wanted,
                                        policy::ScopesOfAbi(input_.landlock_abi), kScope,
                                        policy.scopes ? Need::kAsThePolicySays : Need::kBestEffort);
    if (!scoped) return Forward(scoped);
    layer.scoped = *scoped;
    return {};
  }

  // A LandlockConfig document: a layer of its own, as written.
  Status AddDocument(const Policy& policy, size_t number) {
    const policy::LandlockConfig& document = policy.landlock_layers[number];
    const int abi = input_.landlock_abi;
    const std::string place = Where(document.origin);
    PlannedLayer layer;
    layer.name = policy.name + " landlock/" + std::to_string(number);
    Result<uint64_t> fs = Supported(policy, place, document.handled_fs, policy::FsRightsOfAbi(abi),
                                    kFs, Need::kAsThePolicySays);
    if (!fs) return Forward(fs);
    Result<uint64_t> net = Supported(policy, place, document.handled_net,
                                     policy::NetRightsOfAbi(abi), kNet, Need::kAsThePolicySays);
    if (!net) return Forward(net);
    Result<uint64_t> scoped = Supported(policy, place, document.scoped, policy::ScopesOfAbi(abi),
                                        kScope, Need::kAsThePolicySays);
    if (!scoped) return Forward(scoped);
    layer.handled_fs = *fs;
    layer.handled_net = *net;
    layer.scoped = *scoped;
    ContainerRoot root(root_);
    for (const policy::LandlockConfig::Path& path : document.paths) {
      if (Status added = AddDocumentPath(policy, document, path, root, layer); !added) {
        return Context(place, added);
      }
    }
    for (const policy::LandlockConfig::Port& port : document.ports) {
      if ((port.rights & layer.handled_net) != 0) {
        layer.ports.push_back({port.port, port.rights & layer.handled_net});
      }
    }
    if ((layer.handled_fs | layer.handled_net | layer.scoped) != 0) {
      floor_.plan.layers.push_back(std::move(layer));
    }
    return {};
  }

  Status AddDocumentPath(const Policy& policy, const policy::LandlockConfig& document,
                         const policy::LandlockConfig::Path& path, ContainerRoot& root,
                         PlannedLayer& layer) {
    Means means;
    means.policy = policy.name;
    means.file = document.origin.file;
    means.rule = document.origin.pointer;
    means.target = path.path;
    means.holds = "always";
    Result<std::optional<Object>> object = root.Resolve(path.path);
    if (!object) return Forward(object);
    if (!*object) {
      means.means = "skipped";
      means.note = "not in the container when it started";
    } else if (IsMasked((*object)->path)) {
      means.resolved = (*object)->path;
      means.means = "nothing-granted";
      means.note = "denied by a rule that goes before it";
    } else if ((*object)->path == "/" && path.path != "/") {
      return Refuse(path.path + ": leads to / by symlinks; say \"/\" if that is meant");
    } else {
      PlannedPath planned;
      planned.path = (*object)->path;
      planned.rights = path.rights & layer.handled_fs;
      if (!(*object)->IsDirectory()) planned.rights &= abi::kFsFileRights;
      planned.object = (*object)->id;
      means.resolved = planned.path;
      means.means = "landlock";
      if (planned.rights != 0) layer.paths.push_back(std::move(planned));
    }
    floor_.means.push_back(std::move(means));
    return {};
  }

  // Steps stand outer before inner: the last one at or above a path says how it is reached.
  bool IsMasked(const std::string& path) const {
    bool masked = false;
    for (const MountStep& step : floor_.mounts) {
      if (!IsAtOrBeneath(path, step.path)) continue;
      if (step.kind == MountStepKind::kBindBack) masked = false;
      if (step.kind == MountStepKind::kMaskFile || step.kind == MountStepKind::kMaskEmpty ||
          step.kind == MountStepKind::kMaskDir) {
        masked = true;
      }
    }
    return masked;
  }

  Status AddFilter() {
    FilterRequest request;
    std::set<std::string> denied;
    for (const Policy& policy : input_.policies) {
      denied.insert(policy.denied_syscalls.begin(), policy.denied_syscalls.end());
      if (policy.capabilities) request.deny_user_namespaces = true;
    }
    request.denied_syscalls.assign(denied.begin(), denied.end());
    request.network = AllOf(networks_);
    request.closed_again = input_.closed_again;
    request.closed_errno = input_.closed_errno;
    Result<Filter> filter = BuildFilter(request);
    if (!filter) return Forward(filter);
    floor_.filter_rules = std::move(filter->rules);
    floor_.plan.filter = std::move(filter->program);
    return {};
  }

  // The filter of a stack: what every network section lets through. Ports are each layer's own.
  static policy::NetworkFloor AllOf(const std::vector<policy::NetworkFloor>& networks) {
    policy::NetworkFloor all;
    for (const policy::NetworkFloor& one : networks) {
      if (!one.restricts) continue;
      if (!all.restricts) {
        all = one;
        continue;
      }
      all.handle_connect = all.handle_connect || one.handle_connect;
      all.handle_bind = all.handle_bind || one.handle_bind;
      all.allow_listen = all.allow_listen && one.allow_listen;
      all.allow_unix = all.allow_unix && one.allow_unix;
      all.allow_mptcp = all.allow_mptcp && one.allow_mptcp;
    }
    return all;
  }

  const CompileInput& input_;
  BorrowedFd root_;
  std::vector<Rights> handled_fs_;                // by policy
  std::vector<int> section_of_;                   // by policy; -1: no `paths`
  std::vector<std::vector<PlannedPath>> layers_;  // by section
  std::vector<policy::NetworkFloor> networks_;
  Floor floor_;
};

}  // namespace

Result<StaticFloor> CompileStatic(const std::vector<Policy>& policies) {
  StaticFloor floor;
  // The strictest of the policies; one that says nothing means confined.
  if (!policies.empty()) floor.exec_sessions = policy::ExecSessions::kUnconfined;
  for (const Policy& policy : policies) {
    if (Status supported = policy::CheckSupported(policy); !supported) return Forward(supported);
    floor.exec_sessions = std::max(floor.exec_sessions,
                                   policy.exec_sessions.value_or(policy::ExecSessions::kConfined));
    if (!policy.paths) continue;
    for (const PathRule& rule : *policy.paths) {
      if (rule.effect == Effect::kAllow) continue;
      for (const PathTarget& target : rule.targets) {
        if (!ReachesKernelTrees(target)) continue;
        if (Status added = AddStaticDeny(policy, rule, target, floor); !added) {
          return Forward(added);
        }
      }
    }
  }
  floor.keep = KeptByAll(policies);
  SortUnique(floor.masked_paths);
  SortUnique(floor.readonly_paths);
  return floor;
}

Result<Floor> Compile(const CompileInput& input, BorrowedFd root) {
  return Compilation(input, root).Run();
}

}  // namespace landgate::sandbox
