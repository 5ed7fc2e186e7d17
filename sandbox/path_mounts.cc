#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <utility>

#include "base/linux_abi.h"
#include "base/paths.h"
#include "sandbox/glob_expand.h"
#include "sandbox/path_compiler.h"

namespace landgate::sandbox::paths {
namespace {

bool IsWithin(const Restriction& fewer, const Restriction& more) {
  return !fewer.masked && !more.masked && (!fewer.read_only || more.read_only) &&
         (!fewer.noexec || more.noexec) && (!fewer.nodev || more.nodev);
}

}  // namespace

Status PathCompiler::PlaceAll() {
  // Other names make new nodes, which may have other names in turn: a mount of a mount. Both
  // kinds of news only ever add, so that this ends.
  constexpr int kMaxRounds = 16;
  for (int round = 0; round < kMaxRounds; ++round) {
    if (Status placed = PlaceNodes(); !placed) return placed;
    const bool granted = GrantBehindMasks();
    Result<bool> named = AddOtherNames();
    if (!named) return Forward(named);
    if (!granted && !*named) return Pin();
  }
  return Refuse("mounts of the container show denied paths by too many names");
}

bool PathCompiler::GrantBehindMasks() {
  bool more = false;
  for (const auto& [path, node] : nodes_) {
    if (!node.inside_a_mask || node.hidden || node.state.masked) continue;
    for (size_t section = 0; section < sections_.size(); ++section) {
      Rights& known = grants_[section][node.object.id];
      const Rights grant = GrantAt(section, node);
      more = more || (grant & ~known) != 0;
      known |= grant;
    }
  }
  if (more) inherited_.clear();
  return more;
}

Status PathCompiler::PlaceNodes() {
  std::vector<const Node*> around;
  for (auto& [path, node] : nodes_) {
    while (!around.empty() && !IsBeneath(path, around.back()->object.path)) around.pop_back();
    const Node* const above = around.empty() ? nullptr : around.back();
    if (Status placed = PlaceNode(node, above); !placed) return placed;
    around.push_back(&node);
  }
  return {};
}

Status PathCompiler::PlaceNode(Node& node, const Node* above) {
  const Restriction around = above != nullptr ? above->state : Restriction{};
  node.state = around;
  node.step.reset();
  node.hidden = node.fewer_flags = false;
  node.inside_a_mask = above != nullptr && (above->state.masked || above->inside_a_mask);
  node.because.clear();
  FindJudges(node, above);

  const std::string& path = node.object.path;
  const ObjectType type = node.object.Type();
  // Nothing can be mounted on the root. Its rules grant no more than what is wanted there, except
  // rights that this kernel's Landlock lacks, and those are reported as degraded.
  if (!IsKernelPath(path) && path != "/") {
    Result<Rights> granted = Granted(path);
    if (!granted) return Forward(granted);
    Rights asked = RelevantRights(type) & *granted;
    // Connecting to a socket beneath a directory is nobody's question here unless a rule names
    // it.
    if (type != ObjectType::kSocket) asked &= considered_;
    const Rights denied = Denied(node, asked, &node.because);
    if (Status links = CheckLinks(node, type); !links) return links;
    const std::optional<Restriction> chosen = Choose(type, asked, denied, around);
    if (!chosen) return CantHold(node, asked, denied);
    if (Status devices = CheckDevices(node, around, *chosen); !devices) return devices;
    Settle(node, around, *chosen);
  }
  if (node.step || node.hidden) return {};
  return PlaceNamePin(node, around);
}

void PathCompiler::FindJudges(Node& node, const Node* above) {
  const bool named = !node.allowed_by.empty();
  node.judges.clear();
  for (const std::string& path : node.also) node.judges.push_back({path, named});
  if (above == nullptr) return;
  const std::string& base = above->object.path;
  const std::string rest = node.object.path.substr(base == "/" ? 0 : base.size());
  for (const Node::OtherJudge& other : above->judges) {
    node.judges.push_back({other.path + rest, other.named || named});
  }
}

void PathCompiler::Settle(Node& node, const Restriction& around, Restriction chosen) {
  if (chosen == around) {
    node.hidden = around.masked;
    return;
  }
  // nodev means nothing for a regular file; keep what is there.
  if (node.object.Type() == ObjectType::kRegular && !chosen.masked) chosen.nodev = around.nodev;
  node.state = chosen;
  if (chosen.masked) {
    if (node.object.IsDirectory()) {
      node.step = MountStepKind::kMaskDir;
    } else if (node.object.Type() == ObjectType::kRegular && WantsEmptyFile(node)) {
      node.step = MountStepKind::kMaskEmpty;
    } else {
      node.step = MountStepKind::kMaskFile;
    }
  } else if (IsWithin(around, chosen)) {
    node.step = MountStepKind::kRestrict;
  } else {
    node.step = MountStepKind::kBindBack;
    node.fewer_flags = true;
  }
}

bool PathCompiler::WantsEmptyFile(const Node& node) {
  return !node.denials.empty() &&
         std::all_of(node.denials.begin(), node.denials.end(),
                     [](const PathRule* rule) { return rule->mask == policy::Mask::kEmpty; });
}

Status PathCompiler::PlaceNamePin(Node& node, const Restriction& around) {
  if (node.object.path == "/" || node.denials.empty()) return {};
  const std::string parent(Parent(node.object.path));
  Result<Rights> granted = Granted(parent);
  if (!granted) return Forward(granted);
  const Rights can =
      *granted & considered_ & policy::kNameRights & ~Taken(ObjectType::kDirectory, around);
  if (can == 0 || NameDenied(node, can, &node.because) == 0) return {};
  Result<bool> is_mount = IsMountPoint(node.object);
  if (!is_mount) return Forward(is_mount);
  if (!*is_mount) node.step = MountStepKind::kPin;
  return {};
}

Status PathCompiler::CheckLinks(const Node& node, ObjectType type) const {
  if (type != ObjectType::kRegular || node.object.links < 2) return {};
  for (const PathRule* rule : node.denials) {
    if (rule->accept_hardlinks || Denied(node, rule->rights, nullptr) == 0) continue;
    return Refuse(Where(*rule) + ": " + node.object.path + " has " +
                  std::to_string(node.object.links) +
                  " hard links, and its other names are not searched for; remove them, or say "
                  "\"hardlinks\": \"accept\"");
  }
  return {};
}

Status PathCompiler::CheckDevices(const Node& node, const Restriction& around,
                                  const Restriction& chosen) {
  if (!node.object.IsDirectory() || !chosen.nodev || around.nodev) return {};
  if (!IsAtOrBeneath(node.object.path, "/dev")) return {};
  Result<bool> devices = HoldsDevices(root_, node.object.path);
  if (!devices) return Forward(devices);
  if (!*devices) return {};
  return Refuse(Place(node) +
                ": holds device nodes, and no mount makes those read-only; deny "
                "\"all\", or allow less on what encloses it");
}

Status PathCompiler::CantHold(const Node& node, Rights granted, Rights denied) const {
  return Refuse(Place(node) + ": rules around it grant " + policy::DescribeRights(granted) +
                ", and no mount takes just " + policy::DescribeRights(denied) +
                " of that away; deny \"all\", or \"modify\" and \"execute\" (not on devices, "
                "FIFOs and sockets), or allow less around it");
}

std::string PathCompiler::Place(const Node& node) const {
  std::string place;
  if (!node.denials.empty()) {
    place = Where(*node.denials.front()) + ": ";
  } else if (!node.because.empty()) {
    place = node.because + ": ";
  }
  return place + node.object.path;
}

Result<bool> PathCompiler::IsMountPoint(const Object& object) {
  Result<std::optional<Object>> parent = root_.Lookup(std::string(Parent(object.path)));
  if (!parent) return Forward(parent);
  return *parent && (*parent)->mount_id != object.mount_id;
}

Status PathCompiler::ReadMounts() {
  if (mounts_) return {};
  Result<MountTable> table = ReadMountTable();
  if (!table) return Forward(table);
  mounts_ = std::move(*table);
  char text[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(root_fd_.get());
  const ssize_t length = readlink(link.c_str(), text, sizeof text);
  if (length < 0) return SystemError(link, errno);
  root_path_.assign(text, static_cast<size_t>(length));
  Result<Object> root = DescribeFd(root_fd_, "/");
  if (!root) return Forward(root);
  if (!root_path_.starts_with('/') || mounts_->Find(root->mount_id) == nullptr) {
    return Refuse("the container's root is not in this process's mount namespace");
  }
  return {};
}

Result<bool> PathCompiler::AddOtherNames() {
  bool added = false;
  std::vector<std::string> placed;
  for (const auto& [path, node] : nodes_) {
    // Landlock grants by inode: what is allowed by one name is, beneath a denied one, an excess.
    if (node.from_rule) placed.push_back(path);
  }
  if (placed.empty()) return false;
  if (Status read = ReadMounts(); !read) return Forward(read);
  for (const std::string& path : placed) {
    const Node& node = nodes_.at(path);
    const std::string outside = root_path_ == "/" ? path : root_path_ + path;
    for (const OtherName& name : OtherNames(*mounts_, outside, node.object.mount_id)) {
      if (!IsBeneath(name.path, root_path_)) continue;
      const std::string inside =
          root_path_ == "/" ? name.path : name.path.substr(root_path_.size());
      Result<bool> is_new = AddOtherName(node, name, inside);
      if (!is_new) return is_new;
      added = added || *is_new;
    }
  }
  return added;
}

Result<bool> PathCompiler::AddOtherName(const Node& node, const OtherName& name,
                                        const std::string& path) {
  Result<std::optional<Object>> object = root_.Lookup(path);
  if (!object) return Forward(object);
  // Otherwise something is mounted over that name.
  if (!*object || (*object)->mount_id != name.mount_id) return false;
  if (name.beneath.empty() && (*object)->id != node.object.id) return false;
  const bool restricted = node.step.has_value() || !node.denials.empty();
  if (!restricted && !name.beneath.empty()) return false;
  const std::string judged_as = node.object.path + name.beneath;
  const std::vector<const PathRule*> denials = node.denials;
  const auto [at, is_new] = nodes_.try_emplace(path);
  Node& other = at->second;
  if (is_new) other.object = **object;
  if (!restricted) return is_new;
  if (!other.allowed_by.empty() && !node.denials.empty() && warned_.insert(path).second) {
    floor_.warnings.push_back(path + " is another name of " + judged_as +
                              ", which is restricted; what a rule allows by this name stays");
  }
  if (std::find(other.also.begin(), other.also.end(), judged_as) != other.also.end()) {
    return is_new;
  }
  other.also.push_back(judged_as);
  other.denials.insert(other.denials.end(), denials.begin(), denials.end());
  return true;
}

Status PathCompiler::Pin() {
  std::map<std::string, MountStep, PathOrder> steps;
  for (const auto& [path, node] : nodes_) {
    if (node.step) steps[path] = StepOf(node);
  }
  if (steps.empty()) return {};
  if (Status read = ReadMounts(); !read) return read;
  std::set<std::string> seen;
  for (const auto& [path, node] : nodes_) {
    if (!node.step) continue;
    for (std::string at(Parent(path)); at != "/"; at = std::string(Parent(at))) {
      if (!seen.insert(at).second) break;
      if (steps.contains(at)) break;  // it is a mount point, and looks after what is above it
      Result<std::optional<MountStep>> pin = PinAt(at, node);
      if (!pin) return Forward(pin);
      if (*pin) steps[at] = std::move(**pin);
    }
  }
  for (auto& [path, step] : steps) {
    if (Status own = CheckPropagation(step); !own) return own;
    floor_.steps.push_back(std::move(step));
  }
  return {};
}

MountStep PathCompiler::StepOf(const Node& node) {
  MountStep step;
  step.kind = *node.step;
  step.path = node.object.path;
  step.object = node.object.id;
  step.directory = node.object.IsDirectory();
  step.read_only = node.state.read_only;
  step.noexec = node.state.noexec;
  step.nodev = node.state.nodev;
  step.writable_again = node.fewer_flags;
  step.because = node.because;
  return step;
}

Result<std::optional<MountStep>> PathCompiler::PinAt(const std::string& path,
                                                     const Node& because_of) {
  const std::string parent(Parent(path));
  const Restriction state = StateAt(parent);
  if (state.masked) return std::optional<MountStep>();  // a name in the mask's own tree
  Result<Rights> granted = Granted(parent);
  if (!granted) return Forward(granted);
  constexpr Rights kMoves = abi::kFsRemoveDir | abi::kFsRefer;
  if ((*granted & kMoves & ~Taken(ObjectType::kDirectory, state)) == 0) {
    return std::optional<MountStep>();
  }
  Result<std::optional<Object>> object = root_.Lookup(path);
  if (!object) return Forward(object);
  if (!*object || !(*object)->IsDirectory()) {
    return Refuse(path + ": changed while it was looked at; start the container again");
  }
  Result<bool> is_mount = IsMountPoint(**object);
  if (!is_mount) return Forward(is_mount);
  if (*is_mount) return std::optional<MountStep>();
  MountStep step;
  step.kind = MountStepKind::kPin;
  step.path = path;
  step.object = (*object)->id;
  step.directory = true;
  step.because = because_of.because;
  return std::optional<MountStep>(std::move(step));
}

Restriction PathCompiler::StateAt(const std::string& path) const {
  for (std::string at = path;; at = std::string(Parent(at))) {
    if (const auto node = nodes_.find(at); node != nodes_.end()) return node->second.state;
    if (at == "/") return {};
  }
}

Status PathCompiler::CheckPropagation(const MountStep& step) {
  Result<std::optional<Object>> object = root_.Lookup(step.path);
  if (!object) return Forward(object);
  const Mount* const mount = *object ? mounts_->Find((*object)->mount_id) : nullptr;
  if (mount == nullptr) {
    return Refuse(step.path + ": changed while it was looked at; start the container again");
  }
  if (!mount->shared) return {};
  const std::string what = step.path +
                           ": its mount propagates to the host (shared), and so would what "
                           "protects it; mount it rprivate or rslave";
  if (refuse_shared_) return Refuse(what);
  if (warned_.insert(mount->point).second) floor_.warnings.push_back(what);
  return {};
}

}  // namespace landgate::sandbox::paths
