// The policies of this node, as a container would find them by name.
#ifndef LANDGATE_AGENT_CTL_CTL_POLICY_LIST_H_
#define LANDGATE_AGENT_CTL_CTL_POLICY_LIST_H_

#include <string>
#include <vector>

#include "node/config.h"

namespace landgate::ctl {

struct ListedPolicy {
  std::string name;
  std::string file;
  std::string description;
  std::string problem;  // why no container can use it; empty: usable
};

// Sorted by name. Of a name that lies in several policyDirs the first counts, as for containers.
// Files whose name is no policy name are left out; a directory that is missing has no policies.
std::vector<ListedPolicy> ListPolicies(const node::Config& config);

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_POLICY_LIST_H_
