#include "sandbox/path_floor.h"

#include <algorithm>
#include <utility>

#include "base/linux_abi.h"
#include "base/paths.h"
#include "sandbox/path_compiler.h"

namespace landgate::sandbox {
namespace paths {

std::string Where(const PathRule& rule) { return rule.origin.file + ": " + rule.origin.pointer; }

Result<PathFloor> PathCompiler::Run() {
  if (Status resolved = ResolveTargets(); !resolved) return Forward(resolved);
  MakeRules();
  ComputeGrants();
  if (denies_) {
    if (Status placed = PlaceAll(); !placed) return Forward(placed);
  }
  PlanLayers();
  Report();
  return std::move(floor_);
}

void PathCompiler::PlanLayers() {
  floor_.layers.resize(sections_.size());
  // What rules at directories above, by path, grant already: such a rule need not be made again.
  struct Above {
    const Node* node;
    std::vector<Rights> granted;
  };
  std::vector<Above> around;
  for (const auto& [path, node] : nodes_) {
    while (!around.empty() && !IsBeneath(path, around.back().node->object.path)) {
      around.pop_back();
    }
    // Behind a mask the directories above are not the container's own, and nothing is inherited.
    std::vector<Rights> granted(sections_.size());
    if (!around.empty() && !node.inside_a_mask) granted = around.back().granted;
    if (!node.hidden && !node.state.masked) {
      for (size_t section = 0; section < sections_.size(); ++section) {
        if (!node.inside_a_mask && !node.allowed_by.contains(section)) continue;
        const Rights grant = GrantAt(section, node);
        if ((grant & ~granted[section]) == 0) continue;
        granted[section] |= grant;
        floor_.layers[section].push_back(
            {path, grant, node.required_by.contains(section), node.object.id});
      }
    }
    around.push_back({&node, std::move(granted)});
  }
}

void PathCompiler::Report() {
  for (const Target& target : targets_) {
    Means means;
    means.policy = sections_[target.section].policy->name;
    means.file = target.rule->origin.file;
    means.rule = target.rule->origin.pointer;
    means.target = target.written;
    means.resolved = target.resolved;
    means.means = target.means;
    means.note = target.note;
    means.holds = "always";
    if (means.means.empty()) Explain(target, nodes_.at(target.resolved), means);
    floor_.means.push_back(std::move(means));
  }
}

void PathCompiler::Explain(const Target& target, const Node& node, Means& means) {
  const bool allow = target.rule->effect == Effect::kAllow;
  if (allow && (node.hidden || node.state.masked)) {
    means.means = "nothing-granted";
    means.note = "denied by a rule that goes before it";
  } else if (allow) {
    means.means = node.step == MountStepKind::kBindBack ? "bind-back" : "landlock";
  } else if (node.state.masked) {
    means.means = node.step == MountStepKind::kMaskEmpty ? "mask-empty" : "mask";
  } else if (node.state != Restriction{}) {
    means.means = Describe(node.state);
    if (node.state.read_only && node.object.IsDirectory()) {
      means.note = "FIFOs and sockets in it stay usable, device nodes in it can't be opened";
    }
  } else {
    means.means = "nothing-granted";
  }
  const bool by_mount = node.step.has_value() || node.state != Restriction{};
  if (by_mount && means.means != "landlock") means.holds = "at-start";
}

}  // namespace paths

bool IsKernelPath(std::string_view path) {
  return IsAtOrBeneath(path, "/proc") || IsAtOrBeneath(path, "/sys");
}

Result<PathFloor> CompilePaths(const std::vector<PathSection>& sections, BorrowedFd root,
                               bool refuse_shared) {
  return paths::PathCompiler(sections, root, refuse_shared).Run();
}

}  // namespace landgate::sandbox
