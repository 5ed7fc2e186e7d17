// Who decides about one access of one policy: the decide_*.h functions of policy/, asked for
// people. A LandlockConfig layer of the policy is asked too, because all layers must allow.
#ifndef LANDGATE_AGENT_CTL_CTL_EXPLAIN_H_
#define LANDGATE_AGENT_CTL_CTL_EXPLAIN_H_

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/decision.h"
#include "policy/document.h"
#include "policy/rights.h"

namespace landgate::ctl {

struct Question {
  std::optional<std::string> path, connect, bind, syscall, capability;  // exactly one
  std::vector<std::string> rights;                                      // with path
  std::optional<std::string> root;                                      // with path
};

struct Explained {
  std::string subject;             // "path /etc/shadow"
  std::vector<std::string> asked;  // rights by Landlock's names, with path
  std::string resolved;            // with root, where it differs from the path as asked
  policy::Decision decision;
  std::string rule_file;  // where decision.rule points to; empty where no one file can be named
  std::string note;       // what else is to be known; may be empty
};

// Errors: a right, destination, call or capability that doesn't exist (bad usage), a root that
// can't be opened.
Result<Explained> Explain(const policy::Policy& policy, const Question& question);

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_EXPLAIN_H_
