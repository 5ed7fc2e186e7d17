// Which rule decides a path. Pure, total, default-deny.
//
// For each right requested, among the rules that name the right and cover the path:
//   final rules first (the shallowest of them), then the deepest; at equal depth what names the
//   object itself beats `beneath`, a literal beats a glob (so: `file`, glob, `beneath`), then deny,
//   ask, allow. No rule: deny. `protected` beats all, for every right.
// Depth counts components of the resolved path; a glob's depth is that of its literal prefix. So a
// deny of /workspace/**/.env holds under an allow of /workspace, and an allow beneath
// /workspace/docs lifts it there. Several rights: the verdict is the strictest (deny, ask, allow).
//
// Which rules cover, exactly as Landlock does it for allow rules:
//   rights on the object (read, write_file, execute, truncate, ioctl_dev, resolve_unix):
//     beneath X covers X and everything beneath; file X covers X; a glob covers what it matches and
//     everything beneath.
//   rights on a name (make_*, remove_*, refer), asked for with the path of the name itself:
//     an allow needs a `beneath` rule on a directory strictly above the name; deny and ask cover
//     the name itself too, so a denied file can't be removed, replaced or moved.
// A bit without a name here is a right on the object.
//
// Reasons of a denial: kProtected; kRule where a rule denies one of the rights; otherwise
// kInsufficientAccess where an allow or ask rule covers the path for some right, else kNotCovered.
// Without a `paths` section everything is allowed (kNotCovered, no rule) but what is protected.
//
// Thread-safe as values are. Asking takes no memory and its time grows with the number of targets.
#ifndef LANDGATE_POLICY_DECIDE_PATH_H_
#define LANDGATE_POLICY_DECIDE_PATH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policy/decision.h"
#include "policy/document.h"

namespace landgate::policy {

// Where a rule's target path leads once symlinks in the container are resolved. Rules are decided
// on resolved paths; `explain` without a root takes them as written.
struct ResolvedTarget {
  PathKind kind = PathKind::kBeneath;
  std::string path;                // resolved; for kGlob the pattern (its literal prefix resolved)
  const PathRule* rule = nullptr;  // the policy outlives this
};

// The rules of one policy, ready to be asked. Holds pointers into the policy.
class PathRules {
 public:
  // Targets as written.
  explicit PathRules(const Policy& policy);
  // Targets resolved by the caller (missing optional ones left out).
  PathRules(const Policy& policy, std::vector<ResolvedTarget> targets);

  // `path` is resolved, clean and absolute; `rights` is not empty.
  Decision Decide(std::string_view path, Rights rights) const;
  // The rights of `asked` that Decide would allow one by one.
  Rights Allowed(std::string_view path, Rights asked) const;
  bool restricts_paths() const { return restricts_; }
  const std::vector<ResolvedTarget>& targets() const { return targets_; }

 private:
  struct Rank {               // of the target at the same index
    uint64_t precedence = 0;  // of two rules that cover, the higher decides
    size_t prefix = 0;        // length of the leading part of the path that must be there as text
  };

  void Prepare();
  bool CoversObject(size_t index, std::string_view path) const;
  bool CoversName(size_t index, std::string_view path) const;
  struct Answer;  // which target decides each right
  Answer Ask(std::string_view path, Rights asked) const;

  bool restricts_;
  std::vector<ResolvedTarget> targets_;
  std::vector<Rank> ranks_;
};

// Several policies over one container: all must allow. The first denial is reported, else the
// first question, else the allow of the last policy that has a rule for it; `policy_index` (may be
// null) says whose. No policy at all: deny.
Decision DecidePath(const std::vector<PathRules>& policies, std::string_view path, Rights rights,
                    size_t* policy_index);

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_DECIDE_PATH_H_
