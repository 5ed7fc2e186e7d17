#include "agent/ctl_policy_json.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/capability_names.h"
#include "policy/rights.h"

namespace landgate::ctl {
namespace {

using policy::Json;

const char* EffectName(policy::Effect effect) {
  switch (effect) {
    case policy::Effect::kAllow:
      return "allow";
    case policy::Effect::kAsk:
      return "ask";
    case policy::Effect::kDeny:
      break;
  }
  return "deny";
}

const char* LandlockName(policy::LandlockUse use) {
  switch (use) {
    case policy::LandlockUse::kOff:
      return "off";
    case policy::LandlockUse::kBestEffort:
      return "best-effort";
    case policy::LandlockUse::kRequired:
      break;
  }
  return "required";
}

const char* ExecSessionsName(policy::ExecSessions sessions) {
  switch (sessions) {
    case policy::ExecSessions::kUnconfined:
      return "unconfined";
    case policy::ExecSessions::kRefused:
      return "refused";
    case policy::ExecSessions::kConfined:
      break;
  }
  return "confined";
}

const char* ViolationName(policy::OnViolation on_violation) {
  switch (on_violation) {
    case policy::OnViolation::kStop:
      return "stop";
    case policy::OnViolation::kFreeze:
      return "freeze";
    case policy::OnViolation::kKill:
      return "kill";
    case policy::OnViolation::kErrno:
      break;
  }
  return "errno";
}

const char* KindName(policy::PathKind kind) {
  switch (kind) {
    case policy::PathKind::kFile:
      return "file";
    case policy::PathKind::kGlob:
      return "glob";
    case policy::PathKind::kBeneath:
      break;
  }
  return "beneath";
}

// Groups and names where there are some, numbers for bits that have none. Whether `unix` was
// written out makes a difference to what a policy handles: where it came by way of "all" it is
// written as a number, unless "all" itself can be.
Json RightsJson(policy::Rights rights, bool names_unix) {
  if (rights == policy::kAll && !names_unix) return Json::array({"all"});
  const policy::Rights named = rights & (names_unix ? policy::kAll : policy::kAll & ~policy::kUnix);
  Json names = Json::array();
  const std::string text = named != 0 ? policy::DescribeRights(named) : "";
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(", ", start), text.size());
    names.push_back(text.substr(start, end - start));
    start = end + 2;
  }
  for (int bit = 0; bit < 64; ++bit) {
    const policy::Rights single = policy::Rights{1} << bit;
    if ((rights & ~named & single) != 0) names.push_back(single);
  }
  return names;
}

Json CapabilityNamesJson(CapabilitySet set) {
  Json names = Json::array();
  for (const std::string& name : CapabilityNames(set)) names.push_back(name);
  return names;
}

Json EmulationJson(const policy::Emulation& emulation) {
  Json value = Json::object();
  const std::pair<const char*, const std::vector<std::string>*> lists[] = {
      {"types", &emulation.types},
      {"options", &emulation.options},
      {"devices", &emulation.devices},
      {"names", &emulation.names},
      {"policies", &emulation.policies}};
  for (const auto& [key, list] : lists) {
    if (!list->empty()) value[key] = *list;
  }
  if (emulation.max_priority) value["maxPriority"] = *emulation.max_priority;
  return value;
}

Json CapabilitiesJson(const policy::Capabilities& capabilities) {
  Json value = Json::object();
  if (capabilities.keep) value["keep"] = CapabilityNamesJson(*capabilities.keep);
  if (capabilities.ask != 0) value["ask"] = CapabilityNamesJson(capabilities.ask);
  for (const policy::Emulation& emulation : capabilities.emulate)
    value["emulate"][emulation.syscall] = EmulationJson(emulation);
  return value;
}

// Rights and ports by number: the format takes names only, so handled rights are written by theirs.
Json LandlockConfigJson(const policy::LandlockConfig& layer) {
  Json value = Json::object();
  if (layer.abi != 0) value["abi"] = layer.abi;
  Json handled = Json::object();
  if (layer.handled_fs != 0) handled["handledAccessFs"] = policy::RightNames(layer.handled_fs);
  if (layer.handled_net != 0)
    handled["handledAccessNet"] = policy::NetRightNames(layer.handled_net);
  if (layer.scoped != 0) {
    Json scoped = Json::array();
    for (const std::string& name : policy::ScopeNames(layer.scoped))
      scoped.push_back(name == "abstract-unix" ? "abstract_unix_socket" : name);
    handled["scoped"] = std::move(scoped);
  }
  if (!handled.empty()) value["ruleset"] = Json::array({std::move(handled)});
  for (const policy::LandlockConfig::Path& rule : layer.paths) {
    std::string parent;  // a dollar is quoted by doubling it
    for (const char c : rule.path) parent += c == '$' ? std::string("$$") : std::string(1, c);
    value["pathBeneath"].push_back(
        {{"allowedAccess", policy::RightNames(rule.rights)}, {"parent", Json::array({parent})}});
  }
  for (const policy::LandlockConfig::Port& rule : layer.ports) {
    value["netPort"].push_back({{"allowedAccess", policy::NetRightNames(rule.rights)},
                                {"port", Json::array({rule.port})}});
  }
  return value;
}

std::string Milliseconds(std::chrono::milliseconds duration) {
  return std::to_string(duration.count()) + "ms";
}

Json ApprovalJson(const policy::Approval& approval) {
  Json value = Json::object();
  if (approval.timeout) value["timeout"] = Milliseconds(*approval.timeout);
  if (approval.rate) value["rate"] = *approval.rate;
  if (approval.burst) value["burst"] = *approval.burst;
  return value;
}

Json CompatibilityJson(const policy::Policy& policy) {
  Json value = Json::object();
  value["landlock"] = LandlockName(policy.landlock);
  if (policy.min_abi != 0) value["minAbi"] = policy.min_abi;
  return value;
}

}  // namespace

Json PathRuleJson(const policy::PathRule& rule) {
  Json value = Json::object();
  value[EffectName(rule.effect)] = RightsJson(rule.rights, rule.names_unix);
  for (const policy::PathTarget& target : rule.targets) {
    Json& list = value[KindName(target.kind)];
    list.push_back(target.path);
  }
  if (rule.optional) value["optional"] = true;
  if (rule.required) value["required"] = true;
  if (rule.runtime) value["runtime"] = true;
  if (rule.final) value["final"] = true;
  if (rule.accept_hardlinks) value["hardlinks"] = "accept";
  if (rule.mask == policy::Mask::kEmpty) value["mask"] = "empty";
  if (!rule.verify_sha256.empty()) value["verify"] = {{"sha256", rule.verify_sha256}};
  return value;
}

Json NetworkRuleJson(const policy::NetworkRule& rule) {
  Json value = Json::object();
  Json operations = Json::array();
  if (rule.connect) operations.push_back("connect");
  if (rule.bind) operations.push_back("bind");
  value[EffectName(rule.effect)] = std::move(operations);
  Json to = Json::array();
  for (const policy::Destination& destination : rule.to) to.push_back(destination.text);
  value["to"] = std::move(to);
  if (rule.optional) value["optional"] = true;
  if (rule.final) value["final"] = true;
  return value;
}

Json PolicyJson(const policy::Policy& policy) {
  Json value = Json::object();
  value["landgate"] = 1;
  if (!policy.description.empty()) value["description"] = policy.description;
  value["compatibility"] = CompatibilityJson(policy);
  if (policy.paths) {
    value["paths"] = Json::array();
    for (const policy::PathRule& rule : *policy.paths) value["paths"].push_back(PathRuleJson(rule));
  }
  if (policy.network) {
    value["network"] = Json::array();
    for (const policy::NetworkRule& rule : *policy.network)
      value["network"].push_back(NetworkRuleJson(rule));
  }
  if (policy.capabilities) value["capabilities"] = CapabilitiesJson(*policy.capabilities);
  if (!policy.denied_syscalls.empty()) value["syscalls"]["deny"] = policy.denied_syscalls;
  if (policy.scopes) value["scopes"] = policy::ScopeNames(*policy.scopes);
  if (policy.self_restrict_allowed)
    value["selfRestrict"] = *policy.self_restrict_allowed ? "allow" : "refused";
  if (!policy.landlock_layers.empty()) {
    value["landlock"] = Json::array();
    for (const policy::LandlockConfig& layer : policy.landlock_layers)
      value["landlock"].push_back(LandlockConfigJson(layer));
  }
  if (policy.exec_sessions) value["execSessions"] = ExecSessionsName(*policy.exec_sessions);
  if (policy.on_violation) value["onViolation"] = ViolationName(*policy.on_violation);
  if (policy.approval) value["approval"] = ApprovalJson(*policy.approval);
  return value;
}

}  // namespace landgate::ctl
