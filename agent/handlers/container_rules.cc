#include "agent/handlers/container_rules.h"

#include <errno.h>

#include <charconv>
#include <optional>
#include <utility>

#include "base/paths.h"
#include "policy/decide_layer.h"
#include "policy/decide_network.h"
#include "policy/glob.h"
#include "sandbox/resolve.h"

namespace landgate::agent {
namespace {

using policy::Decision;
using policy::Policy;
using policy::Reason;
using policy::Rights;
using policy::Verdict;

void Number(Policy& policy, std::vector<policy::Origin>& origins) {
  const auto number = [&origins](auto& rules) {
    for (auto& rule : rules) {
      origins.push_back(rule.origin);
      rule.origin.pointer = "#" + std::to_string(origins.size() - 1);
    }
  };
  if (policy.paths) number(*policy.paths);
  if (policy.network) number(*policy.network);
  number(policy.landlock_layers);
}

// Where `path` leads, or itself where it leads nowhere or can't be looked at.
std::string Resolved(BorrowedFd root, const std::string& path) {
  if (root.get() < 0) return path;
  const Result<std::optional<sandbox::Object>> object = sandbox::ContainerRoot(root).Resolve(path);
  return object && *object ? (*object)->path : path;
}

std::vector<policy::ResolvedTarget> Targets(const Policy& policy, BorrowedFd root) {
  std::vector<policy::ResolvedTarget> targets;
  if (!policy.paths) return targets;
  for (const policy::PathRule& rule : *policy.paths) {
    for (const policy::PathTarget& target : rule.targets) {
      if (target.kind != policy::PathKind::kGlob) {
        targets.push_back({target.kind, Resolved(root, target.path), &rule});
        continue;
      }
      const std::string literal = policy::LiteralPrefix(target.path);
      const std::string prefix = Resolved(root, literal);
      targets.push_back(
          {target.kind,
           (prefix == "/" ? "" : prefix) + target.path.substr(literal == "/" ? 0 : literal.size()),
           &rule});
    }
  }
  return targets;
}

std::optional<uint64_t> LayerRight(policy::Operation operation, policy::Transport transport) {
  if (transport != policy::Transport::kTcp) return std::nullopt;
  return operation == policy::Operation::kConnect ? abi::kNetConnectTcp : abi::kNetBindTcp;
}

bool Stricter(Verdict one, Verdict other) {
  const auto rank = [](Verdict verdict) {
    return verdict == Verdict::kDeny ? 2 : verdict == Verdict::kAsk ? 1 : 0;
  };
  return rank(one) > rank(other);
}

}  // namespace

ContainerRules::ContainerRules(const std::vector<Policy>& policies, BorrowedFd root)
    : policies_(policies) {
  paths_.reserve(policies_.size());
  for (Policy& policy : policies_) {
    Number(policy, origins_);
    for (policy::LandlockConfig& layer : policy.landlock_layers) {
      for (policy::LandlockConfig::Path& rule : layer.paths) rule.path = Resolved(root, rule.path);
      restricts_paths_ = restricts_paths_ || layer.handled_fs != 0;
      restricts_network_ = restricts_network_ || layer.handled_net != 0;
    }
    paths_.emplace_back(policy, Targets(policy, root));
    restricts_paths_ = restricts_paths_ || policy.paths;
    restricts_network_ = restricts_network_ || policy.network;
    bool asks_unix = false;
    for (const policy::ResolvedTarget& target : paths_.back().targets()) {
      restricts_paths_ = restricts_paths_ || target.rule->is_protected;
      asks_unix = asks_unix || target.rule->names_unix;
    }
    asks_unix_.push_back(asks_unix);
    handles_unix_ = handles_unix_ || asks_unix;
  }
}

std::string ContainerRules::RuleName(const Policy& policy, const std::string& pointer) const {
  if (pointer.empty()) return "";
  const policy::Origin* origin = nullptr;
  if (pointer.starts_with('#')) {
    size_t index = origins_.size();
    (void)std::from_chars(pointer.data() + 1, pointer.data() + pointer.size(),
                          index);  // ours, see Number
    if (index < origins_.size()) origin = &origins_[index];
  }
  if (!origin) return policy.name + "#" + pointer;
  std::string name = policy.name;
  if (!origin->file.empty() && origin->file != policy.file) {
    // A document that the policy extends goes by its own name.
    name = Basename(origin->file);
    if (name.ends_with(".json")) name.resize(name.size() - 5);
  }
  return name + "#" + origin->pointer;
}

Judgement ContainerRules::Path(std::string_view path, Rights rights) const {
  Judgement judgement;
  judgement.decision = {Verdict::kAllow, 0, Reason::kNotCovered, ""};
  if (rights == 0) return judgement;
  const auto take = [&](const Policy& policy, Decision decision, Rights denied) {
    judgement.denied |= denied;
    if (!Stricter(decision.verdict, judgement.decision.verdict)) return;
    judgement.rule = RuleName(policy, decision.rule);
    judgement.decision = std::move(decision);
  };
  for (size_t i = 0; i < paths_.size(); ++i) {
    const policy::PathRules& rules = paths_[i];
    const Rights asked = asks_unix_[i] ? rights : rights & ~Rights{abi::kFsResolveUnix};
    if (asked != 0) {
      Decision decision = rules.Decide(path, asked);
      if (decision.verdict != Verdict::kAllow) {
        take(policies_[i], std::move(decision), asked & ~rules.Allowed(path, asked));
      }
    }
    for (const policy::LandlockConfig& layer : policies_[i].landlock_layers) {
      const Rights denied = policy::DeniedByLayer(layer, path, rights);
      if (denied == 0) continue;
      take(policies_[i], {Verdict::kDeny, EACCES, Reason::kRule, layer.origin.pointer}, denied);
    }
  }
  return judgement;
}

bool ContainerRules::PathAllowed(std::string_view path, Rights rights) const {
  return Path(path, rights).decision.verdict == Verdict::kAllow;
}

Judgement ContainerRules::Network(policy::Operation operation,
                                  const policy::Endpoint& endpoint) const {
  Judgement judgement;
  judgement.decision = {Verdict::kAllow, 0, Reason::kNotCovered, ""};
  const auto take = [&](const Policy& policy, Decision decision) {
    if (!Stricter(decision.verdict, judgement.decision.verdict)) return;
    judgement.rule = RuleName(policy, decision.rule);
    judgement.decision = std::move(decision);
  };
  const std::optional<uint64_t> right = LayerRight(operation, endpoint.transport);
  for (const Policy& policy : policies_) {
    take(policy, policy::DecideNetwork(policy, operation, endpoint, {}));
    for (const policy::LandlockConfig& layer : policy.landlock_layers) {
      if (!right || !policy::LayerDeniesPort(layer, *right, endpoint.port)) continue;
      take(policy, {Verdict::kDeny, EACCES, Reason::kRule, layer.origin.pointer});
    }
  }
  return judgement;
}

}  // namespace landgate::agent
