
#include <algorithm>
#include <bit>
#include <utility>

#include "base/linux_abi.h"
#include "base/paths.h"
#include "sandbox/path_compiler.h"

namespace landgate::sandbox::paths {
namespace {

// A name that stands for "whatever else is in this directory". No policy spells it; a glob of
// wildcards alone may match it, and then the directory's other entries are matched likewise.
constexpr std::string_view kAnyName =
    "\x7f"
    "any";

}  // namespace

void PathCompiler::MakeRules() {
  for (size_t section = 0; section < sections_.size(); ++section) {
    rules_.emplace_back(*sections_[section].policy, std::move(resolved_[section]));
    considered_ |= sections_[section].wanted;
  }
}

Rights PathCompiler::AllowedAt(size_t section, const std::string& path, bool directory) const {
  const Rights asked = sections_[section].wanted;
  Rights allowed = rules_[section].Allowed(path, asked & ~policy::kNameRights);
  if (directory) {
    allowed |= rules_[section].Allowed(Join(path, kAnyName), asked & policy::kNameRights);
  }
  return allowed;
}

Rights PathCompiler::DeniedByRule(size_t section, const std::string& path, Rights asked,
                                  std::string* rule) const {
  Rights denied = 0;
  for (Rights rest = asked & ~rules_[section].Allowed(path, asked); rest; rest &= rest - 1) {
    const Rights bit = Rights{1} << std::countr_zero(rest);
    const policy::Decision decision = rules_[section].Decide(path, bit);
    if (decision.reason != Reason::kRule && decision.reason != Reason::kProtected) continue;
    denied |= bit;
    if (rule != nullptr && rule->empty()) *rule = decision.rule;
  }
  return denied;
}

Rights PathCompiler::DeniedByAnyName(size_t section, const Node& node, std::string_view entry,
                                     Rights asked, std::string* rule) const {
  const auto place = [entry](const std::string& path) {
    return entry.empty() ? path : Join(path, entry);
  };
  const std::string own = place(node.object.path);
  Rights denied = DeniedByRule(section, own, asked, rule);
  if (node.judges.empty()) return denied;
  const Rights not_allowed = asked & ~rules_[section].Allowed(own, asked);
  for (const Node::OtherJudge& other : node.judges) {
    denied |= DeniedByRule(section, place(other.path), other.named ? not_allowed : asked, rule);
  }
  return denied;
}

Rights PathCompiler::Denied(const Node& node, Rights asked, std::string* rule) const {
  Rights denied = 0;
  for (size_t section = 0; section < sections_.size(); ++section) {
    const Rights here = asked & (sections_[section].wanted | policy::kUnix);
    denied |= DeniedByAnyName(section, node, "", here & ~policy::kNameRights, rule);
    if (!node.object.IsDirectory()) continue;
    denied |= DeniedByAnyName(section, node, kAnyName, here & policy::kNameRights, rule);
  }
  return denied;
}

Rights PathCompiler::NameDenied(const Node& node, Rights asked, std::string* rule) const {
  Rights denied = 0;
  for (size_t section = 0; section < sections_.size(); ++section) {
    denied |= DeniedByAnyName(section, node, "", asked & sections_[section].wanted, rule);
  }
  return denied;
}

void PathCompiler::ComputeGrants() {
  grants_.resize(sections_.size());
  for (const auto& [path, node] : nodes_) {
    for (const size_t section : node.allowed_by) {
      grants_[section][node.object.id] |= GrantAt(section, node);
    }
  }
}

Rights PathCompiler::GrantAt(size_t section, const Node& node) const {
  const bool directory = node.object.IsDirectory();
  const Rights grant = AllowedAt(section, node.object.path, directory) & sections_[section].handled;
  return directory ? grant : grant & abi::kFsFileRights;
}

Result<std::vector<Rights>> PathCompiler::Inherited(const std::string& path) {
  if (const auto known = inherited_.find(path); known != inherited_.end()) return known->second;
  std::vector<Rights> rights(sections_.size());
  if (path != "/") {
    Result<std::vector<Rights>> above = Inherited(std::string(Parent(path)));
    if (!above) return above;
    rights = std::move(*above);
  }
  Result<std::optional<Object>> object = root_.Lookup(path);
  if (!object) return Forward(object);
  if (*object) {
    for (size_t section = 0; section < sections_.size(); ++section) {
      const auto grant = grants_[section].find((*object)->id);
      if (grant != grants_[section].end()) rights[section] |= grant->second;
    }
  }
  inherited_[path] = rights;
  return rights;
}

Result<Rights> PathCompiler::Granted(const std::string& path) {
  Result<std::vector<Rights>> inherited = Inherited(path);
  if (!inherited) return Forward(inherited);
  Rights granted = considered_ | policy::kUnix;
  for (size_t section = 0; section < sections_.size(); ++section) {
    granted &= (*inherited)[section] | ~sections_[section].handled;
  }
  return granted;
}

}  // namespace landgate::sandbox::paths
