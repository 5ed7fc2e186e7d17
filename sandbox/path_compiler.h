// The compiler of `paths` sections, shared by the files that make its parts:
//
//   path_targets.cc  which object each target of each rule names
//   path_grants.cc   what the policies say of it, and what Landlock would grant
//   path_mounts.cc   which mounts take away the difference, at every name, and what is pinned
//   path_floor.cc    the whole, the layers and the report
//
// Internal to them.
#ifndef LANDGATE_SANDBOX_PATH_COMPILER_H_
#define LANDGATE_SANDBOX_PATH_COMPILER_H_

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "policy/decide_path.h"
#include "policy/document.h"
#include "sandbox/mount_table.h"
#include "sandbox/path_floor.h"
#include "sandbox/resolve.h"
#include "sandbox/rights_algebra.h"

namespace landgate::sandbox::paths {

using policy::Effect;
using policy::PathKind;
using policy::PathRule;
using policy::PathRules;
using policy::PathTarget;
using policy::Reason;
using policy::ResolvedTarget;
using policy::Rights;

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

// "FILE: /paths/3", for messages.
std::string Where(const PathRule& rule);

class PathCompiler {
 public:
  PathCompiler(const std::vector<PathSection>& sections, BorrowedFd root, bool refuse_shared)
      : sections_(sections), root_fd_(root), root_(root), refuse_shared_(refuse_shared) {}

  Result<PathFloor> Run();

 private:
  // --- targets
  Status ResolveTargets();
  Status ResolveTarget(size_t section, const PathRule& rule, const PathTarget& target);
  Status CheckObject(size_t section, const PathRule& rule, const PathTarget& target,
                     const Object& object) const;
  // The policy itself, and not an image's symlink, gives these rights where the symlink leads.
  bool IsNamedOtherwise(size_t section, const PathRule& rule, const std::string& path) const;
  static bool IsProcessDirectory(const std::string& path);
  Status ResolveGlob(size_t section, const PathRule& rule, const PathTarget& target);
  Node& NodeAt(const Object& object);

  // --- what the policies say
  void MakeRules();
  // What the section allows at the path and, for a directory, for the entries in it.
  Rights AllowedAt(size_t section, const std::string& path, bool directory) const;
  // Those of the rights that a rule takes away: not those that no rule speaks of, because an object
  // may have them by another name, and a grant by one name is a grant.
  Rights DeniedByRule(size_t section, const std::string& path, Rights asked,
                      std::string* rule) const;
  // The same for a node by any of its names. What a rule allows at the node's own path is not taken
  // away by a rule that speaks of another name.
  Rights DeniedByAnyName(size_t section, const Node& node, std::string_view entry, Rights asked,
                         std::string* rule) const;
  // Of `asked`, what some section denies the node, and the entries in it.
  Rights Denied(const Node& node, Rights asked, std::string* rule) const;
  // The same for the rights on the node's own name.
  Rights NameDenied(const Node& node, Rights asked, std::string* rule) const;

  // --- what Landlock will grant
  void ComputeGrants();
  Rights GrantAt(size_t section, const Node& node) const;
  // What the rules at and above a path grant, section by section. Landlock knows inodes: a
  // directory seen by two names carries the rules of both.
  Result<std::vector<Rights>> Inherited(const std::string& path);
  // What the kernel would let happen with all layers on and no mounts.
  Result<Rights> Granted(const std::string& path);

  // --- mounts
  Status PlaceAll();
  // What is bound back into a mask needs rules of its own in every layer (PlanLayers), and those
  // hold for the inode, by whatever name.
  bool GrantBehindMasks();
  Status PlaceNodes();
  Status PlaceNode(Node& node, const Node* above);
  static void FindJudges(Node& node, const Node* above);
  static void Settle(Node& node, const Restriction& around, Restriction chosen);
  static bool WantsEmptyFile(const Node& node);
  // A deny on a name whose object needs no mount: only a mount point can't be removed or moved.
  Status PlaceNamePin(Node& node, const Restriction& around);
  Status CheckLinks(const Node& node, ObjectType type) const;
  // nodev would take the devices of /dev away for reading, and without it they stay writable.
  Status CheckDevices(const Node& node, const Restriction& around, const Restriction& chosen);
  Status CantHold(const Node& node, Rights granted, Rights denied) const;
  std::string Place(const Node& node) const;
  Result<bool> IsMountPoint(const Object& object);
  Status ReadMounts();
  Result<bool> AddOtherNames();
  Result<bool> AddOtherName(const Node& node, const OtherName& name, const std::string& path);

  // --- pins
  Status Pin();
  static MountStep StepOf(const Node& node);
  Result<std::optional<MountStep>> PinAt(const std::string& path, const Node& because_of);
  Restriction StateAt(const std::string& path) const;
  Status CheckPropagation(const MountStep& step);

  // --- the plan and the report
  void PlanLayers();
  void Report();
  static void Explain(const Target& target, const Node& node, Means& means);

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

}  // namespace landgate::sandbox::paths

#endif  // LANDGATE_SANDBOX_PATH_COMPILER_H_
