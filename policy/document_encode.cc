#include "policy/document_encode.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/capability_names.h"
#include "policy/document_keys.h"
#include "policy/rights.h"

namespace landgate::policy {
namespace {

// By the table that the decoder reads by.
template <class T, size_t N>
std::string WordFor(T value, const keys::Choice<T> (&choices)[N]) {
  for (const keys::Choice<T>& choice : choices) {
    if (choice.value == value) return std::string(choice.word);
  }
  return "";
}

// Groups and names where there are some, numbers for bits that have none. resolve_unix that was not
// written out came by way of "all", and makes a difference to what a policy handles.
Json EncodeRights(Rights rights, bool names_unix) {
  Json names = Json::array();
  Rights named = rights & kAll;
  if (named == kAll) {
    names.push_back("all");
    if (names_unix) names.push_back("unix");
    named = 0;
  }
  const std::string text = named != 0 ? DescribeRights(named) : "";
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(", ", start), text.size());
    names.push_back(text.substr(start, end - start));
    start = end + 2;
  }
  for (int bit = 0; bit < 64; ++bit) {
    const Rights single = Rights{1} << bit;
    if ((rights & ~kAll & single) != 0) names.push_back(single);
  }
  return names;
}

Json EncodeCapabilitySet(CapabilitySet set) {
  Json names = Json::array();
  for (const std::string& name : CapabilityNames(set)) names.push_back(name);
  return names;
}

Json EncodeCapabilities(const Capabilities& capabilities) {
  Json value = Json::object();
  if (capabilities.keep) value["keep"] = EncodeCapabilitySet(*capabilities.keep);
  if (capabilities.ask != 0) value["ask"] = EncodeCapabilitySet(capabilities.ask);
  if (capabilities.emulate.empty()) return value;
  Json emulate = Json::object();
  for (const Emulation& emulation : capabilities.emulate) {
    if (!emulate.contains(emulation.syscall)) {
      emulate[emulation.syscall] = EncodeEmulation(emulation);
    }
  }
  value["emulate"] = std::move(emulate);
  return value;
}

// The format takes names only, and variables, whose dollar is quoted by doubling it.
Json EncodeLandlockConfig(const LandlockConfig& layer) {
  Json value = Json::object();
  if (layer.abi != 0) value["abi"] = layer.abi;
  Json handled = Json::object();
  if (layer.handled_fs != 0) handled["handledAccessFs"] = RightNames(layer.handled_fs);
  if (layer.handled_net != 0) handled["handledAccessNet"] = NetRightNames(layer.handled_net);
  if (layer.scoped != 0) {
    Json scoped = Json::array();
    for (const std::string& name : ScopeNames(layer.scoped)) {
      scoped.push_back(name == "abstract-unix" ? "abstract_unix_socket" : name);
    }
    handled["scoped"] = std::move(scoped);
  }
  if (!handled.empty()) {
    value["ruleset"] = Json::array({std::move(handled)});
  } else {
    // A document must have one section; this one says nothing.
    value["variable"] = Json::array({Json{{"name", "none"}}});
  }
  for (const LandlockConfig::Path& rule : layer.paths) {
    std::string parent;
    for (const char c : rule.path) parent += c == '$' ? std::string("$$") : std::string(1, c);
    Json entry = Json::object();
    entry["allowedAccess"] = RightNames(rule.rights);
    entry["parent"] = Json::array({std::move(parent)});
    value["pathBeneath"].push_back(std::move(entry));
  }
  for (const LandlockConfig::Port& rule : layer.ports) {
    Json entry = Json::object();
    entry["allowedAccess"] = NetRightNames(rule.rights);
    entry["port"] = Json::array({rule.port});
    value["netPort"].push_back(std::move(entry));
  }
  return value;
}

Json EncodeApproval(const Approval& approval) {
  Json value = Json::object();
  if (approval.timeout) value["timeout"] = std::to_string(approval.timeout->count()) + "ms";
  if (approval.rate) value["rate"] = *approval.rate;
  if (approval.burst) value["burst"] = *approval.burst;
  return value;
}

// Lists are sections of their own: an empty one says something else than none.
template <class Rule>
Json EncodeRules(const std::vector<Rule>& rules, Json (*encode)(const Rule&)) {
  Json list = Json::array();
  for (const Rule& rule : rules) list.push_back(encode(rule));
  return list;
}

}  // namespace

Json EncodeEmulation(const Emulation& emulation) {
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

Json EncodePathRule(const PathRule& rule) {
  Json value = Json::object();
  value[WordFor(rule.effect, keys::kEffects)] = EncodeRights(rule.rights, rule.names_unix);
  for (const PathTarget& target : rule.targets) {
    Json& list = value[WordFor(target.kind, keys::kTargets)];
    list.push_back(target.path);
  }
  if (rule.optional) value["optional"] = true;
  if (rule.required) value["required"] = true;
  if (rule.runtime) value["runtime"] = true;
  if (rule.final) value["final"] = true;
  if (rule.accept_hardlinks) value["hardlinks"] = WordFor(true, keys::kHardlinks);
  if (rule.mask != Mask::kDevNull) value["mask"] = WordFor(rule.mask, keys::kMask);
  if (!rule.verify_sha256.empty()) value["verify"]["sha256"] = rule.verify_sha256;
  return value;
}

Json EncodeNetworkRule(const NetworkRule& rule) {
  Json value = Json::object();
  Json operations = Json::array();
  if (rule.connect) operations.push_back("connect");
  if (rule.bind) operations.push_back("bind");
  value[WordFor(rule.effect, keys::kEffects)] = std::move(operations);
  Json to = Json::array();
  for (const Destination& destination : rule.to) to.push_back(destination.text);
  value["to"] = std::move(to);
  if (rule.optional) value["optional"] = true;
  if (rule.final) value["final"] = true;
  return value;
}

Json EncodePolicy(const Policy& policy) {
  Json value = Json::object();
  value["landgate"] = 1;
  if (!policy.description.empty()) value["description"] = policy.description;
  if (!policy.extends.empty()) value["extends"] = policy.extends;
  if (policy.landlock_given) {
    value["compatibility"]["landlock"] = WordFor(*policy.landlock_given, keys::kLandlockUse);
  }
  if (policy.min_abi != 0) value["compatibility"]["minAbi"] = policy.min_abi;
  if (policy.paths) value["paths"] = EncodeRules(*policy.paths, EncodePathRule);
  if (policy.network) value["network"] = EncodeRules(*policy.network, EncodeNetworkRule);
  if (policy.capabilities) value["capabilities"] = EncodeCapabilities(*policy.capabilities);
  if (!policy.denied_syscalls.empty()) value["syscalls"]["deny"] = policy.denied_syscalls;
  if (policy.scopes) {
    value["scopes"] = ScopeNames(*policy.scopes);
  }
  if (policy.self_restrict_allowed) {
    value["selfRestrict"] = WordFor(*policy.self_restrict_allowed, keys::kSelfRestrict);
  }
  if (!policy.landlock_layers.empty()) {
    value["landlock"] = EncodeRules(policy.landlock_layers, EncodeLandlockConfig);
  }
  if (policy.exec_sessions) {
    value["execSessions"] = WordFor(*policy.exec_sessions, keys::kExecSessions);
  }
  if (policy.on_violation) {
    value["onViolation"] = WordFor(*policy.on_violation, keys::kOnViolation);
  }
  if (policy.approval) value["approval"] = EncodeApproval(*policy.approval);
  return value;
}

}  // namespace landgate::policy
