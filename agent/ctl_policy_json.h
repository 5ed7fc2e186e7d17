// A decoded (merged) policy as a policy document again, for `policy show`. What it prints can be
// fed to `policy validate`; deciding by it decides the same.
#ifndef LANDGATE_AGENT_CTL_POLICY_JSON_H_
#define LANDGATE_AGENT_CTL_POLICY_JSON_H_

#include "policy/document.h"
#include "policy/json_reader.h"

namespace landgate::ctl {

policy::Json PolicyJson(const policy::Policy& policy);

// One entry of `paths` or `network`, as PolicyJson writes it.
policy::Json PathRuleJson(const policy::PathRule& rule);
policy::Json NetworkRuleJson(const policy::NetworkRule& rule);

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_POLICY_JSON_H_
