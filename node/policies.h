// Finds and merges policies by name, and chooses those of a container. THE place where it is
// decided who may choose what.
#ifndef LANDGATE_NODE_POLICIES_H_
#define LANDGATE_NODE_POLICIES_H_

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/config.h"
#include "oci-specs/annotations.h"
#include "policy/document.h"

namespace landgate::node {

// NAME must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}. The first of policyDirs that has NAME.json.
// Merged (extends), the node's `protected` paths added as final denies, checked for support.
Result<policy::Policy> LoadPolicy(const Config& config, const std::string& name);
// A file by path, extends looked up in its own directory first, then in policyDirs.
Result<policy::Policy> LoadPolicyFile(const Config& config, const std::string& path);

struct Selection {
  std::vector<policy::Policy> policies;  // all must allow; empty: the container is none of ours
  oci::Mode mode = oci::Mode::kEnforce;  // or kAudit: nothing is enforced, all is watched
};

// What a container with these annotations runs under.
//   rules (first match) → annotation → defaultPolicy, which is added unless a matching rule names
//   the same policy with replaceDefault.
// `forced` is landgate-runtime's --landgate-policy; empty where not given. It is added like a
// rule's.
//
// The annotation io.landgate.mode=audit takes every denial away, so it holds only where the
// annotations could have done without: where they alone chose the policies, by name. What the node
// chose (defaultPolicy, rules, `forced`) is watched instead of enforced only under a rule whose
// `match` names io.landgate.mode.
Result<Selection> SelectPolicies(const Config& config,
                                 const std::map<std::string, std::string>& annotations,
                                 const std::string& forced);

}  // namespace landgate::node

#endif  // LANDGATE_NODE_POLICIES_H_
