
#include <algorithm>
#include <utility>

#include "base/paths.h"
#include "policy/glob.h"
#include "sandbox/glob_expand.h"
#include "sandbox/path_compiler.h"

namespace landgate::sandbox::paths {
namespace {

// Rights whose allow would let the workload change what a symlink in an image points to.
constexpr Rights kNeedPlainPath =
    policy::kWrite | policy::kCreate | policy::kRemove | policy::kDevice;

}  // namespace

Status PathCompiler::ResolveTargets() {
  resolved_.resize(sections_.size());
  for (size_t section = 0; section < sections_.size(); ++section) {
    for (const PathRule& rule : *sections_[section].policy->paths) {
      for (const PathTarget& target : rule.targets) {
        if (Status done = ResolveTarget(section, rule, target); !done) {
          return Context(Where(rule), done);
        }
      }
    }
  }
  return {};
}

Status PathCompiler::ResolveTarget(size_t section, const PathRule& rule, const PathTarget& target) {
  if (target.kind == PathKind::kGlob) return ResolveGlob(section, rule, target);
  Target report{section, &rule, target.path, "", "", ""};
  if (rule.effect != Effect::kAllow && IsKernelPath(target.path)) {
    // The container's /proc and /sys have objects of their own for every reader: the runtime
    // covers them by path, and the decision takes the path as written.
    report.resolved = target.path;
    report.means = (rule.rights & policy::kRead) != 0 ? "maskedPaths" : "readonlyPaths";
    targets_.push_back(std::move(report));
    resolved_[section].push_back({target.kind, target.path, &rule});
    return {};
  }
  Result<std::optional<Object>> found = root_.Resolve(target.path);
  if (!found) return Forward(found);
  if (!*found) {
    if (!rule.optional) {
      return Refuse(target.path +
                    ": not in the container; correct the path, or say "
                    "\"optional\": true");
    }
    report.means = "skipped";
    report.note = "not in the container when it started";
    targets_.push_back(std::move(report));
    return {};
  }
  const Object& object = **found;
  if (Status fits = CheckObject(section, rule, target, object); !fits) return fits;
  resolved_[section].push_back({target.kind, object.path, &rule});
  report.resolved = object.path;
  targets_.push_back(std::move(report));

  Node& node = NodeAt(object);
  if (rule.effect == Effect::kAllow) {
    node.allowed_by.insert(section);
    if (rule.required) node.required_by.insert(section);
  } else {
    denies_ = true;
    node.denials.push_back(&rule);
  }
  return {};
}

Status PathCompiler::CheckObject(size_t section, const PathRule& rule, const PathTarget& target,
                                 const Object& object) const {
  if (object.path == "/" && target.path != "/") {
    return Refuse(target.path + ": leads to / by symlinks; say \"/\" if that is meant");
  }
  if (target.kind == PathKind::kFile && object.IsDirectory()) {
    return Refuse(target.path + ": is a directory; use \"beneath\"");
  }
  if (rule.effect != Effect::kAllow) {
    if (IsKernelPath(object.path)) {
      return Refuse(target.path + ": leads to " + object.path + " by symlinks; deny that path");
    }
    return {};
  }
  if (IsProcessDirectory(object.path)) {
    return Refuse(target.path + ": leads to " + object.path +
                  ", another directory for every process; allow /proc");
  }
  if (object.by_symlink && (rule.rights & kNeedPlainPath) != 0 &&
      !IsNamedOtherwise(section, rule, object.path)) {
    return Refuse(target.path + ": is a symlink to " + object.path + "; " +
                  policy::DescribeRights(rule.rights & kNeedPlainPath) +
                  " needs the path itself: name " + object.path);
  }
  return {};
}

bool PathCompiler::IsNamedOtherwise(size_t section, const PathRule& rule,
                                    const std::string& path) const {
  const Rights needed = rule.rights & kNeedPlainPath;
  for (const PathRule& other : *sections_[section].policy->paths) {
    if (other.effect != Effect::kAllow || (other.rights & needed) != needed) continue;
    for (const PathTarget& target : other.targets) {
      if (target.path == path) return true;
      if (target.kind == PathKind::kBeneath && IsBeneath(path, target.path)) return true;
    }
  }
  return false;
}

bool PathCompiler::IsProcessDirectory(const std::string& path) {
  if (!IsBeneath(path, "/proc")) return false;
  const char first = path[sizeof("/proc/") - 1];
  return first >= '0' && first <= '9';
}

Status PathCompiler::ResolveGlob(size_t section, const PathRule& rule, const PathTarget& target) {
  const std::string prefix = policy::LiteralPrefix(target.path);
  Target report{section, &rule, target.path, "", "", ""};
  Result<std::optional<Object>> found = root_.Resolve(prefix);
  if (!found) return Forward(found);
  if (!*found || !(*found)->IsDirectory()) {
    if (!rule.optional) {
      return Refuse(target.path + ": " + prefix +
                    " is no directory in the container; correct "
                    "it, or say \"optional\": true");
    }
    report.means = "skipped";
    report.note = prefix + " is no directory in the container";
    targets_.push_back(std::move(report));
    return {};
  }
  const std::string& resolved = (*found)->path;
  if (IsKernelPath(resolved)) {
    return Refuse(target.path + ": globs do not reach into /proc and /sys; name the paths");
  }
  if (resolved.find_first_of("*?[]\\") != std::string::npos) {
    return Refuse(target.path + ": leads to " + resolved + ", whose name has a wildcard in it");
  }
  const size_t depth = Depth(prefix);
  std::string pattern = resolved;
  const std::vector<std::string_view> parts = Components(target.path);
  for (size_t i = depth; i < parts.size(); ++i) pattern = Join(pattern, parts[i]);
  Result<GlobMatches> matches =
      ExpandGlob(root_, resolved, pattern, Depth(resolved), &glob_entries_);
  if (!matches) return Forward(matches);
  if (glob_matches_ += matches->paths.size(); glob_matches_ > kMaxGlobMatches) {
    return Refuse(target.path + ": more than " + std::to_string(kMaxGlobMatches) +
                  " matches of all globs together; name directories with \"beneath\"");
  }
  for (const std::string& link : matches->symlinks) {
    floor_.warnings.push_back(Where(rule) + ": " + link +
                              " matches but is a symlink: where it leads is not denied by it");
  }
  resolved_[section].push_back({PathKind::kGlob, pattern, &rule});
  denies_ = true;
  if (matches->paths.empty()) {
    report.means = "skipped";
    report.note = "nothing matched when the container started";
    targets_.push_back(std::move(report));
    return {};
  }
  for (const std::string& path : matches->paths) {
    Result<std::optional<Object>> match = root_.Lookup(path);
    if (!match) return Forward(match);
    if (!*match || (*match)->IsSymlink()) {
      return Refuse(path + ": changed while it was looked at; start the container again");
    }
    report.resolved = path;
    targets_.push_back(report);
    NodeAt(**match).denials.push_back(&rule);
  }
  return {};
}

Node& PathCompiler::NodeAt(const Object& object) {
  const auto [at, is_new] = nodes_.try_emplace(object.path);
  if (is_new) at->second.object = object;
  at->second.from_rule = true;
  return at->second;
}

}  // namespace landgate::sandbox::paths
