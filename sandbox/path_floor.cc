#include "sandbox/path_floor.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/linux_abi.h"
#include "base/paths.h"
#include "policy/decide_path.h"
#include "policy/glob.h"
#include "sandbox/glob_expand.h"
#include "sandbox/mount_table.h"
#include "sandbox/resolve.h"
#include "sandbox/rights_algebra.h"

namespace landgate::sandbox {
namespace {

using policy::Effect;
using policy::PathKind;
using policy::PathRule;
using policy::PathRules;
using policy::PathTarget;
using policy::Reason;
using policy::ResolvedTarget;
using policy::Rights;

// A name that stands for "whatever else is in this directory". No policy spells it; a glob of
// wildcards alone may match it, and then the directory's other entries are matched likewise.
constexpr std::string_view kAnyName =
    "\x7f"
    "any";

// Rights whose allow would let the workload change what a symlink in an image points to.
constexpr Rights kNeedPlainPath =
    policy::kWrite | policy::kCreate | policy::kRemove | policy::kDevice;

// A directory stands directly before what lies beneath it.
struct PathOrder {
  bool operator()(std::string_view a, std::string_view b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
      const auto rank = [](char c) { return c == '/' ? 0 : static_cast<unsigned char>(c) + 1; };
      return rank(x) < rank(y);
    });
  }
};

struct IdHash {
  size_t operator()(const ObjectId& id) const {
    return std::hash<uint64_t>()(id.inode * 0x9e3779b97f4a7c15U ^ id.dev_major << 20 ^
                                 id.dev_minor);
  }
};

struct Node {
  Object object;
  std::set<size_t> allowed_by;           // sections with a literal allow at this very path
  std::set<size_t> required_by;          // of those: out of the user's reach is a refusal
  std::vector<const PathRule*> denials;  // deny rules that lead here
  bool from_rule = false;                // else it is another name of a node
  std::vector<std::string> also;         // other names by which it is judged, too

  // `also` of this node and of those above it. `named`: an allow names this object, or one between,
  // by the path as it is seen here.
  struct OtherJudge {
    std::string path;
    bool named = false;
  };
  std::vector<OtherJudge> judges;

  // What came out.
  Restriction state;
  std::optional<MountStepKind> step;
  bool hidden = false;         // behind a mask: can't be reached
  bool inside_a_mask = false;  // reached by a bind-back
  bool fewer_flags = false;
  std::string because;
};

// One target of one rule, for the report.
struct Target {
  size_t section = 0;
  const PathRule* rule = nullptr;
  std::string written;
  std::string resolved;  // empty: missing
  std::string note;
  std::string means;  // decided already, no node
};

std::string Where(const PathRule& rule) { return rule.origin.file + ": " + rule.origin.pointer; }

bool IsWithin(const Restriction& fewer, const Restriction& more) {
  return !fewer.masked && !more.masked && (!fewer.read_only || more.read_only) &&
         (!fewer.noexec || more.noexec) && (!fewer.nodev || more.nodev);
}

class Compiler {
 public:
  Compiler(const std::vector<PathSection>& sections, BorrowedFd root, bool refuse_shared)
      : sections_(sections), root_fd_(root), root_(root), refuse_shared_(refuse_shared) {}

  Result<PathFloor> Run() {
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

 private:
  // --- targets -------------------------------------------------------------------------------

  Status ResolveTargets() {
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

  Status ResolveTarget(size_t section, const PathRule& rule, const PathTarget& target) {
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

  Status CheckObject(size_t section, const PathRule& rule, const PathTarget& target,
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

  // The policy itself, and not an image's symlink, gives these rights where the symlink leads.
  bool IsNamedOtherwise(size_t section, const PathRule& rule, const std::string& path) const {
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

  static bool IsProcessDirectory(const std::string& path) {
    if (!IsBeneath(path, "/proc")) return false;
    const char first = path[sizeof("/proc/") - 1];
    return first >= '0' && first <= '9';
  }

  Status ResolveGlob(size_t section, const PathRule& rule, const PathTarget& target) {
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

  Node& NodeAt(const Object& object) {
    const auto [at, is_new] = nodes_.try_emplace(object.path);
    if (is_new) at->second.object = object;
    at->second.from_rule = true;
    return at->second;
  }

  // --- what the policies say -----------------------------------------------------------------

  void MakeRules() {
    for (size_t section = 0; section < sections_.size(); ++section) {
      rules_.emplace_back(*sections_[section].policy, std::move(resolved_[section]));
      considered_ |= sections_[section].wanted;
    }
  }

  // What the section allows at the path and, for a directory, for the entries in it.
  Rights AllowedAt(size_t section, const std::string& path, bool directory) const {
    const Rights asked = sections_[section].wanted;
    Rights allowed = rules_[section].Allowed(path, asked & ~policy::kNameRights);
    if (directory) {
      allowed |= rules_[section].Allowed(Join(path, kAnyName), asked & policy::kNameRights);
    }
    return allowed;
  }

  // Those of the rights that a rule takes away: not those that no rule speaks of, because an object
  // may have them by another name, and a grant by one name is a grant.
  Rights DeniedByRule(size_t section, const std::string& path, Rights asked,
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

  // The same for a node by any of its names. What a rule allows at the node's own path is not taken
  // away by a rule that speaks of another name.
  Rights DeniedByAnyName(size_t section, const Node& node, std::string_view entry, Rights asked,
                         std::string* rule) const {
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

  // Of `asked`, what some section denies the node, and the entries in it.
  Rights Denied(const Node& node, Rights asked, std::string* rule) const {
    Rights denied = 0;
    for (size_t section = 0; section < sections_.size(); ++section) {
      const Rights here = asked & (sections_[section].wanted | policy::kUnix);
      denied |= DeniedByAnyName(section, node, "", here & ~policy::kNameRights, rule);
      if (!node.object.IsDirectory()) continue;
      denied |= DeniedByAnyName(section, node, kAnyName, here & policy::kNameRights, rule);
    }
    return denied;
  }
  // The same for the rights on the node's own name.
  Rights NameDenied(const Node& node, Rights asked, std::string* rule) const {
    Rights denied = 0;
    for (size_t section = 0; section < sections_.size(); ++section) {
      denied |= DeniedByAnyName(section, node, "", asked & sections_[section].wanted, rule);
    }
    return denied;
  }

  // --- what Landlock will grant ----------------------------------------------------------------

  void ComputeGrants() {
    grants_.resize(sections_.size());
    for (const auto& [path, node] : nodes_) {
      for (const size_t section : node.allowed_by) {
        grants_[section][node.object.id] |= GrantAt(section, node);
      }
    }
  }

  Rights GrantAt(size_t section, const Node& node) const {
    const bool directory = node.object.IsDirectory();
    const Rights grant =
        AllowedAt(section, node.object.path, directory) & sections_[section].handled;
    return directory ? grant : grant & abi::kFsFileRights;
  }

  // What the rules at and above a path grant, section by section. Landlock knows inodes: a
  // directory seen by two names carries the rules of both.
  Result<std::vector<Rights>> Inherited(const std::string& path) {
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

  // What the kernel would let happen with all layers on and no mounts.
  Result<Rights> Granted(const std::string& path) {
    Result<std::vector<Rights>> inherited = Inherited(path);
    if (!inherited) return Forward(inherited);
    Rights granted = considered_ | policy::kUnix;
    for (size_t section = 0; section < sections_.size(); ++section) {
      granted &= (*inherited)[section] | ~sections_[section].handled;
    }
    return granted;
  }

  // --- mounts ----------------------------------------------------------------------------------

  Status PlaceAll() {
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

  // What is bound back into a mask needs rules of its own in every layer (PlanLayers), and those
  // hold for the inode, by whatever name.
  bool GrantBehindMasks() {
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

  Status PlaceNodes() {
    std::vector<const Node*> around;
    for (auto& [path, node] : nodes_) {
      while (!around.empty() && !IsBeneath(path, around.back()->object.path)) around.pop_back();
      const Node* const above = around.empty() ? nullptr : around.back();
      if (Status placed = PlaceNode(node, above); !placed) return placed;
      around.push_back(&node);
    }
    return {};
  }

  Status PlaceNode(Node& node, const Node* above) {
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

  static void FindJudges(Node& node, const Node* above) {
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

  static void Settle(Node& node, const Restriction& around, Restriction chosen) {
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

  static bool WantsEmptyFile(const Node& node) {
    return !node.denials.empty() &&
           std::all_of(node.denials.begin(), node.denials.end(),
                       [](const PathRule* rule) { return rule->mask == policy::Mask::kEmpty; });
  }

  // A deny on a name whose object needs no mount: only a mount point can't be removed or moved.
  Status PlaceNamePin(Node& node, const Restriction& around) {
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

  Status CheckLinks(const Node& node, ObjectType type) const {
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

  // nodev would take the devices of /dev away for reading, and without it they stay writable.
  Status CheckDevices(const Node& node, const Restriction& around, const Restriction& chosen) {
    if (!node.object.IsDirectory() || !chosen.nodev || around.nodev) return {};
    if (!IsAtOrBeneath(node.object.path, "/dev")) return {};
    Result<bool> devices = HoldsDevices(root_, node.object.path);
    if (!devices) return Forward(devices);
    if (!*devices) return {};
    return Refuse(Place(node) +
                  ": holds device nodes, and no mount makes those read-only; deny "
                  "\"all\", or allow less on what encloses it");
  }

  Status CantHold(const Node& node, Rights granted, Rights denied) const {
    return Refuse(Place(node) + ": rules around it grant " + policy::DescribeRights(granted) +
                  ", and no mount takes just " + policy::DescribeRights(denied) +
                  " of that away; deny \"all\", or \"modify\" and \"execute\" (not on devices, "
                  "FIFOs and sockets), or allow less around it");
  }

  std::string Place(const Node& node) const {
    std::string place;
    if (!node.denials.empty()) {
      place = Where(*node.denials.front()) + ": ";
    } else if (!node.because.empty()) {
      place = node.because + ": ";
    }
    return place + node.object.path;
  }

  Result<bool> IsMountPoint(const Object& object) {
    Result<std::optional<Object>> parent = root_.Lookup(std::string(Parent(object.path)));
    if (!parent) return Forward(parent);
    return *parent && (*parent)->mount_id != object.mount_id;
  }

  Status ReadMounts() {
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

  Result<bool> AddOtherNames() {
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

  Result<bool> AddOtherName(const Node& node, const OtherName& name, const std::string& path) {
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

  // --- pins ------------------------------------------------------------------------------------

  Status Pin() {
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

  static MountStep StepOf(const Node& node) {
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

  Result<std::optional<MountStep>> PinAt(const std::string& path, const Node& because_of) {
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

  Restriction StateAt(const std::string& path) const {
    for (std::string at = path;; at = std::string(Parent(at))) {
      if (const auto node = nodes_.find(at); node != nodes_.end()) return node->second.state;
      if (at == "/") return {};
    }
  }

  Status CheckPropagation(const MountStep& step) {
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

  // --- the plan and the report -------------------------------------------------------------------

  void PlanLayers() {
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

  void Report() {
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

  static void Explain(const Target& target, const Node& node, Means& means) {
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

  const std::vector<PathSection>& sections_;
  BorrowedFd root_fd_;
  ContainerRoot root_;
  bool refuse_shared_;
  std::vector<std::vector<ResolvedTarget>> resolved_;  // until MakeRules
  std::vector<PathRules> rules_;
  std::vector<Target> targets_;
  std::map<std::string, Node, PathOrder> nodes_;
  bool denies_ = false;
  size_t glob_entries_ = 0;
  size_t glob_matches_ = 0;
  Rights considered_ = 0;
  std::vector<std::unordered_map<ObjectId, Rights, IdHash>> grants_;
  std::unordered_map<std::string, std::vector<Rights>> inherited_;
  std::optional<MountTable> mounts_;
  std::string root_path_;
  std::set<std::string> warned_;
  PathFloor floor_;
};

}  // namespace

bool IsKernelPath(std::string_view path) {
  return IsAtOrBeneath(path, "/proc") || IsAtOrBeneath(path, "/sys");
}

Result<PathFloor> CompilePaths(const std::vector<PathSection>& sections, BorrowedFd root,
                               bool refuse_shared) {
  return Compiler(sections, root, refuse_shared).Run();
}

}  // namespace landgate::sandbox
