// The rules of one container, ready to be asked in its own names: targets resolved in its root, as
// at a container's start, so that a rule for /bin is one for /usr/bin where that is what /bin is.
// Files and directories that are not there keep their names as written.
//
// Built once, when the workload begins; what a symlink in a rule's path leads to later is not
// looked at again. Thread-safe after construction.
#ifndef LANDGATE_AGENT_HANDLERS_CONTAINER_RULES_H_
#define LANDGATE_AGENT_HANDLERS_CONTAINER_RULES_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "policy/decide_path.h"
#include "policy/decision.h"
#include "policy/destination.h"
#include "policy/document.h"
#include "policy/rights.h"

namespace landgate::agent {

// A decision, and the rule as people find it.
struct Judgement {
  policy::Decision decision;
  std::string rule;           // "POLICY#/paths/3"; empty: none decided
  policy::Rights denied = 0;  // of the rights on a path that were asked
};

class ContainerRules {
 public:
  // `root` is the container's root directory; -1: rules are taken as written.
  ContainerRules(const std::vector<policy::Policy>& policies, BorrowedFd root);
  ContainerRules(const ContainerRules&) = delete;
  ContainerRules& operator=(const ContainerRules&) = delete;

  // `path` is resolved, clean and absolute. All policies and their layers must allow.
  Judgement Path(std::string_view path, policy::Rights rights) const;
  // The same, as yes or no.
  bool PathAllowed(std::string_view path, policy::Rights rights) const;
  // A UNIX path is resolved. Names are not resolved here: a rule that names a host covers nothing.
  Judgement Network(policy::Operation operation, const policy::Endpoint& endpoint) const;

  bool restricts_paths() const { return restricts_paths_; }
  bool restricts_network() const { return restricts_network_; }
  // Connecting to a UNIX path asks resolve_unix of it.
  bool handles_unix() const { return handles_unix_; }

 private:
  std::string RuleName(const policy::Policy& policy, const std::string& pointer) const;

  std::vector<policy::Policy> policies_;  // rules are numbered: merged documents share pointers
  std::vector<policy::Origin> origins_;   // by that number
  std::vector<policy::PathRules> paths_;
  std::vector<bool> asks_unix_;  // which of them name resolve_unix
  bool restricts_paths_ = false, restricts_network_ = false, handles_unix_ = false;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_CONTAINER_RULES_H_
