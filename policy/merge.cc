#include "policy/merge.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "policy/nearest.h"

namespace landgate::policy {
namespace {

constexpr size_t kMostDocuments = 32;

template <class T>
void Append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// Absent means "says nothing", which is not the same as an empty list ("allows nothing").
template <class T>
void Append(std::optional<std::vector<T>>& to, const std::optional<std::vector<T>>& from) {
  if (!from) return;
  if (!to) to.emplace();
  Append(*to, *from);
}

// Both say whether the value of `from` now stands.
template <class T>
bool TakeGreater(std::optional<T>& to, const std::optional<T>& from) {
  if (!from || (to && *to >= *from)) return false;
  to = from;
  return true;
}

template <class T>
bool TakeLesser(std::optional<T>& to, const std::optional<T>& from) {
  if (!from || (to && *to <= *from)) return false;
  to = from;
  return true;
}

void MergeCapabilities(std::optional<Capabilities>& to, const std::optional<Capabilities>& from) {
  if (!from) return;
  if (!to) {
    to = from;
    return;
  }
  to->origin = from->origin;
  if (from->keep) to->keep = to->keep ? *to->keep & *from->keep : *from->keep;
  to->ask |= from->ask;
  Append(to->emulate, from->emulate);
}

void MergeApproval(std::optional<Approval>& to, const std::optional<Approval>& from) {
  if (!from) return;
  if (!to) to.emplace();
  (void)TakeLesser(to->timeout, from->timeout);
  (void)TakeLesser(to->rate, from->rate);
  (void)TakeLesser(to->burst, from->burst);
}

// Adds what `from` says to `to`. The enums are declared from the laxest to the strictest.
void MergeInto(Policy& to, const Policy& from) {
  for (const auto& [key, origin] : from.origins) to.origins.emplace(key, origin);
  const auto stands = [&](const char* key, bool taken) {
    const auto found = from.origins.find(key);
    if (taken && found != from.origins.end()) to.origins[key] = found->second;
  };
  stands("compatibility", TakeGreater(to.landlock_given, from.landlock_given));
  to.min_abi = std::max(to.min_abi, from.min_abi);
  Append(to.paths, from.paths);
  Append(to.network, from.network);
  MergeCapabilities(to.capabilities, from.capabilities);
  Append(to.denied_syscalls, from.denied_syscalls);
  if (from.scopes) to.scopes = to.scopes.value_or(0) | *from.scopes;
  // false: refused
  stands("selfRestrict", TakeLesser(to.self_restrict_allowed, from.self_restrict_allowed));
  Append(to.landlock_layers, from.landlock_layers);
  stands("execSessions", TakeGreater(to.exec_sessions, from.exec_sessions));
  stands("onViolation", TakeGreater(to.on_violation, from.on_violation));
  MergeApproval(to.approval, from.approval);
}

class Merger {
 public:
  explicit Merger(const PolicyLookup& lookup) : lookup_(lookup) {}

  Status Add(const Policy& policy) {
    chain_.push_back(policy.name);
    for (size_t i = 0; i < policy.extends.size(); ++i) {
      const std::string place = policy.file + ": /extends/" + std::to_string(i);
      if (Status status = AddByName(policy.extends[i]); !status) {
        // The innermost place alone: an outer one would only repeat the chain.
        if (placed_) return status;
        placed_ = true;
        return Context(place, status);
      }
    }
    chain_.pop_back();
    MergeInto(merged_, policy);
    return {};
  }

  Policy& merged() { return merged_; }

 private:
  std::string Chain(const std::string& last) const {
    std::string text;
    for (const std::string& name : chain_) text += name + " → ";
    return text + last;
  }

  Status AddByName(const std::string& name) {
    if (std::find(chain_.begin(), chain_.end(), name) != chain_.end()) {
      return Refuse("policies extend each other in a circle: " + Chain(name));
    }
    // Reached a second time on another way: its rules are in already, and once is enough.
    if (done_.contains(name)) return {};
    if (++documents_ > kMostDocuments) {
      return Refuse("more than " + std::to_string(kMostDocuments) +
                    " documents are extended: " + Chain(name));
    }
    Result<Policy> policy = lookup_(name);
    if (!policy) return Context("policy " + Quoted(name), policy);
    policy->name = name;
    if (Status status = Add(*policy); !status) return status;
    done_.insert(name);
    return {};
  }

  const PolicyLookup& lookup_;
  Policy merged_;
  std::vector<std::string> chain_;
  std::set<std::string> done_;
  size_t documents_ = 1;  // the policy itself
  bool placed_ = false;
};

}  // namespace

Result<Policy> ResolveExtends(const Policy& policy, const PolicyLookup& lookup) {
  Merger merger(lookup);
  if (Status status = merger.Add(policy); !status) return Forward(status);
  Policy& merged = merger.merged();
  merged.name = policy.name;
  merged.file = policy.file;
  merged.description = policy.description;
  merged.landlock = merged.landlock_given.value_or(LandlockUse::kRequired);
  std::sort(merged.denied_syscalls.begin(), merged.denied_syscalls.end());
  merged.denied_syscalls.erase(
      std::unique(merged.denied_syscalls.begin(), merged.denied_syscalls.end()),
      merged.denied_syscalls.end());
  return std::move(merged);
}

}  // namespace landgate::policy
