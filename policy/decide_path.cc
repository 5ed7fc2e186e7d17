#include "policy/decide_path.h"

#include <errno.h>

#include <array>
#include <bit>
#include <cassert>
#include <utility>

#include "base/paths.h"
#include "policy/glob.h"

namespace landgate::policy {
namespace {

constexpr int kRightBits = 64;
constexpr int kNoTarget = -1;

Rights Bit(int number) { return Rights{1} << number; }

// `protected`, then final with the shallowest first, then the deepest; then what kind of target,
// then deny, ask, allow. One number, so that the order is total and every rule is compared alike.
uint64_t Precedence(const ResolvedTarget& target, size_t depth) {
  const PathRule& rule = *target.rule;
  uint64_t kind = 0;
  switch (target.kind) {
    case PathKind::kFile:
      kind = 2;
      break;
    case PathKind::kGlob:
      kind = 1;
      break;
    case PathKind::kBeneath:
      kind = 0;
      break;
  }
  uint64_t effect = 0;
  switch (rule.effect) {
    case Effect::kDeny:
      effect = 2;
      break;
    case Effect::kAsk:
      effect = 1;
      break;
    case Effect::kAllow:
      effect = 0;
      break;
  }
  constexpr uint64_t kDeepest = 0xffff;  // a path of PATH_MAX bytes has at most 2048 components
  const uint64_t place = rule.final ? kDeepest - depth : depth;
  return (rule.is_protected ? uint64_t{1} << 33 : 0) | (rule.final ? uint64_t{1} << 32 : 0) |
         place << 8 | kind << 4 | effect;
}

Verdict VerdictOf(Effect effect) {
  switch (effect) {
    case Effect::kAllow:
      return Verdict::kAllow;
    case Effect::kAsk:
      return Verdict::kAsk;
    case Effect::kDeny:
      return Verdict::kDeny;
  }
  return Verdict::kDeny;
}

}  // namespace

struct PathRules::Answer {
  std::array<int, kRightBits> winner;  // index of the deciding target, or kNoTarget
  bool granted = false;                // an allow or ask rule covers the path for some right

  Answer() { winner.fill(kNoTarget); }
};

PathRules::PathRules(const Policy& policy) : restricts_(policy.paths.has_value()) {
  if (policy.paths) {
    for (const PathRule& rule : *policy.paths) {
      for (const PathTarget& target : rule.targets) {
        targets_.push_back({target.kind, target.path, &rule});
      }
    }
  }
  Prepare();
}

PathRules::PathRules(const Policy& policy, std::vector<ResolvedTarget> targets)
    : restricts_(policy.paths.has_value()), targets_(std::move(targets)) {
  Prepare();
}

void PathRules::Prepare() {
  ranks_.reserve(targets_.size());
  for (const ResolvedTarget& target : targets_) {
    assert(target.rule);
    const std::string prefix =
        target.kind == PathKind::kGlob ? LiteralPrefix(target.path) : target.path;
    ranks_.push_back({Precedence(target, Depth(prefix)), prefix.size()});
  }
}

bool PathRules::CoversObject(size_t index, std::string_view path) const {
  const ResolvedTarget& target = targets_[index];
  const std::string_view prefix = std::string_view(target.path).substr(0, ranks_[index].prefix);
  switch (target.kind) {
    case PathKind::kFile:
      return path == target.path;
    case PathKind::kBeneath:
      return IsAtOrBeneath(path, target.path);
    case PathKind::kGlob:
      // What the glob matches, and everything beneath it.
      for (std::string_view part = path; IsAtOrBeneath(part, prefix); part = Parent(part)) {
        if (GlobMatches(target.path, part)) return true;
        if (part == "/") return false;
      }
      return false;
  }
  return false;
}

bool PathRules::CoversName(size_t index, std::string_view path) const {
  const ResolvedTarget& target = targets_[index];
  if (target.rule->effect != Effect::kAllow) return CoversObject(index, path);
  // Landlock asks the directory that holds the name, and rules on a file grant no such right.
  return target.kind == PathKind::kBeneath && IsBeneath(path, target.path);
}

PathRules::Answer PathRules::Ask(std::string_view path, Rights asked) const {
  Answer answer;
  for (size_t index = 0; index < targets_.size(); ++index) {
    const PathRule& rule = *targets_[index].rule;
    if (!restricts_ && !rule.is_protected) continue;
    const bool covers_object = CoversObject(index, path);
    // Whatever covers a name covers it as an object, too.
    if (!covers_object) continue;
    if (rule.effect != Effect::kAllow || rule.rights & ~kNameRights || CoversName(index, path)) {
      answer.granted = answer.granted || rule.effect != Effect::kDeny;
    }
    Rights decided = (rule.is_protected ? ~Rights{0} : rule.rights) & asked;
    if (decided & kNameRights && !CoversName(index, path)) decided &= ~kNameRights;
    for (; decided; decided &= decided - 1) {
      int& winner = answer.winner[static_cast<size_t>(std::countr_zero(decided))];
      if (winner == kNoTarget ||
          ranks_[index].precedence > ranks_[static_cast<size_t>(winner)].precedence) {
        winner = static_cast<int>(index);
      }
    }
  }
  return answer;
}

Decision PathRules::Decide(std::string_view path, Rights rights) const {
  const Answer answer = Ask(path, rights);
  Decision decision{Verdict::kAllow, 0, Reason::kNotCovered, ""};
  if (rights == 0) return Decision{};
  // The strictest right decides; of several denials the one with the strongest reason is told.
  int strength = 0;
  for (Rights rest = rights; rest; rest &= rest - 1) {
    const int winner = answer.winner[static_cast<size_t>(std::countr_zero(rest))];
    if (winner == kNoTarget) {
      if (restricts_ && strength < 3) {
        strength = 3;
        decision = {Verdict::kDeny, EACCES,
                    answer.granted ? Reason::kInsufficientAccess : Reason::kNotCovered, ""};
      }
      continue;
    }
    const PathRule& rule = *targets_[static_cast<size_t>(winner)].rule;
    const Verdict verdict = rule.is_protected ? Verdict::kDeny : VerdictOf(rule.effect);
    const int own = rule.is_protected           ? 5
                    : verdict == Verdict::kDeny ? 4
                    : verdict == Verdict::kAsk  ? 2
                                                : 1;
    if (own <= strength) continue;
    strength = own;
    decision = {verdict, verdict == Verdict::kAllow ? 0 : EACCES,
                rule.is_protected ? Reason::kProtected : Reason::kRule, rule.origin.pointer};
  }
  return decision;
}

Rights PathRules::Allowed(std::string_view path, Rights asked) const {
  const Answer answer = Ask(path, asked);
  Rights allowed = 0;
  for (int number = 0; number < kRightBits; ++number) {
    if (!(asked & Bit(number))) continue;
    const int winner = answer.winner[static_cast<size_t>(number)];
    const bool allows =
        winner == kNoTarget
            ? !restricts_
            : !targets_[static_cast<size_t>(winner)].rule->is_protected &&
                  targets_[static_cast<size_t>(winner)].rule->effect == Effect::kAllow;
    if (allows) allowed |= Bit(number);
  }
  return allowed;
}

Decision DecidePath(const std::vector<PathRules>& policies, std::string_view path, Rights rights,
                    size_t* policy_index) {
  Decision reported;
  for (size_t index = 0; index < policies.size(); ++index) {
    Decision own = policies[index].Decide(path, rights);
    const bool replaces = index == 0 || own.verdict == Verdict::kDeny ||
                          (own.verdict == Verdict::kAsk && reported.verdict == Verdict::kAllow) ||
                          (own.verdict == Verdict::kAllow && reported.verdict == Verdict::kAllow &&
                           !own.rule.empty());
    if (!replaces) continue;
    reported = std::move(own);
    if (policy_index) *policy_index = index;
    if (reported.verdict == Verdict::kDeny) break;
  }
  return reported;
}

}  // namespace landgate::policy
