#include "policy/decide_path.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/paths.h"
#include "policy/glob.h"

namespace landgate::policy {
namespace {

PathRule Rule(Effect effect, Rights rights, std::vector<PathTarget> targets) {
  PathRule rule;
  rule.effect = effect;
  rule.rights = rights;
  rule.targets = std::move(targets);
  return rule;
}
PathTarget Beneath(std::string path) { return {PathKind::kBeneath, std::move(path)}; }
PathTarget File(std::string path) { return {PathKind::kFile, std::move(path)}; }
PathTarget Glob(std::string pattern) { return {PathKind::kGlob, std::move(pattern)}; }

Policy PolicyOf(std::vector<PathRule> rules) {
  Policy policy;
  for (size_t i = 0; i < rules.size(); ++i) {
    rules[i].origin = {"p.json", "/paths/" + std::to_string(i)};
  }
  policy.paths = std::move(rules);
  return policy;
}

struct Expectation {
  std::string path;
  Rights rights;
  Verdict verdict;
  Reason reason;
  std::string rule;
};

void Check(const Policy& policy, const std::vector<Expectation>& table) {
  const PathRules rules(policy);
  for (const Expectation& row : table) {
    const Decision decision = rules.Decide(row.path, row.rights);
    const std::string what = row.path + " " + DescribeRights(row.rights);
    EXPECT_EQ(VerdictName(decision.verdict), VerdictName(row.verdict)) << what;
    EXPECT_EQ(ReasonName(decision.reason), ReasonName(row.reason)) << what;
    EXPECT_EQ(decision.rule, row.rule) << what;
    EXPECT_EQ(decision.error_number, row.verdict == Verdict::kAllow ? 0 : EACCES) << what;
  }
}

constexpr auto kAllow = Verdict::kAllow;
constexpr auto kDeny = Verdict::kDeny;
constexpr auto kAsk = Verdict::kAsk;

TEST(DecidePathTest, TheDocumentedExample) {
  const Policy policy = PolicyOf({
      Rule(Effect::kAllow, kRead | kExecute, {Beneath("/usr"), Beneath("/bin")}),
      Rule(Effect::kAllow, kRead | kModify | kExecute, {Beneath("/workspace"), Beneath("/tmp")}),
      Rule(Effect::kAllow, kRead, {File("/etc/hosts")}),
      Rule(Effect::kDeny, kAll, {Beneath("/workspace/.git/hooks")}),
      Rule(Effect::kDeny, kAll, {Glob("/workspace/**/.env")}),
      Rule(Effect::kDeny, kModify, {Beneath("/workspace/.git/config")}),
      Rule(Effect::kAsk, kRead, {Beneath("/home")}),
  });
  Check(policy,
        {
            {"/usr/bin/cat", abi::kFsReadFile | kExecute, kAllow, Reason::kRule, "/paths/0"},
            {"/bin", abi::kFsReadDir, kAllow, Reason::kRule, "/paths/0"},
            {"/usr/bin/cat", abi::kFsWriteFile, kDeny, Reason::kInsufficientAccess, ""},
            {"/usrx", abi::kFsReadFile, kDeny, Reason::kNotCovered, ""},
            {"/etc/hosts", abi::kFsReadFile, kAllow, Reason::kRule, "/paths/2"},
            {"/etc/hosts/fake", abi::kFsReadFile, kDeny, Reason::kNotCovered, ""},
            {"/etc/shadow", abi::kFsReadFile, kDeny, Reason::kNotCovered, ""},
            {"/workspace/a", kWrite, kAllow, Reason::kRule, "/paths/1"},
            {"/workspace/.git/hooks", abi::kFsReadDir, kDeny, Reason::kRule, "/paths/3"},
            {"/workspace/.git/hooks/x", kExecute, kDeny, Reason::kRule, "/paths/3"},
            {"/workspace/.git/hooksx", kExecute, kAllow, Reason::kRule, "/paths/1"},
            {"/workspace/.env", abi::kFsReadFile, kDeny, Reason::kRule, "/paths/4"},
            {"/workspace/a/b/.env", abi::kFsRemoveFile, kDeny, Reason::kRule, "/paths/4"},
            {"/workspace/a/.env/below", abi::kFsReadFile, kDeny, Reason::kRule, "/paths/4"},
            {"/workspace/a/x.env", abi::kFsReadFile, kAllow, Reason::kRule, "/paths/1"},
            {"/workspace/.git/config", abi::kFsReadFile, kAllow, Reason::kRule, "/paths/1"},
            {"/workspace/.git/config", abi::kFsWriteFile, kDeny, Reason::kRule, "/paths/5"},
            {"/workspace/.git/config", abi::kFsReadFile | abi::kFsWriteFile, kDeny, Reason::kRule,
             "/paths/5"},
            {"/home/u/x", abi::kFsReadFile, kAsk, Reason::kRule, "/paths/6"},
            {"/home/u/x", abi::kFsReadFile | abi::kFsWriteFile, kDeny, Reason::kInsufficientAccess,
             ""},
        });
}

TEST(DecidePathTest, TheDeepestRuleThatNamesTheRightDecides) {
  const Policy policy = PolicyOf({
      Rule(Effect::kAllow, kRead | kWrite, {Beneath("/a")}),
      Rule(Effect::kDeny, kRead, {Beneath("/a/b")}),
      Rule(Effect::kAllow, kRead, {Beneath("/a/b/c")}),
      Rule(Effect::kDeny, kWrite, {Beneath("/a/b/c/d")}),
  });
  Check(policy, {
                    {"/a/x", abi::kFsReadFile, kAllow, Reason::kRule, "/paths/0"},
                    {"/a/b/x", abi::kFsReadFile, kDeny, Reason::kRule, "/paths/1"},
                    {"/a/b/x", abi::kFsWriteFile, kAllow, Reason::kRule, "/paths/0"},
                    {"/a/b/c/x", abi::kFsReadFile, kAllow, Reason::kRule, "/paths/2"},
                    {"/a/b/c/d", abi::kFsReadFile, kAllow, Reason::kRule, "/paths/2"},
                    {"/a/b/c/d", abi::kFsWriteFile, kDeny, Reason::kRule, "/paths/3"},
                });
}

TEST(DecidePathTest, TiesAtEqualDepth) {
  // Each pair names the same path for the same right; the first must decide, in both orders.
  const std::vector<std::pair<PathRule, PathRule>> pairs = {
      {Rule(Effect::kAllow, kRead, {File("/a/b")}), Rule(Effect::kDeny, kRead, {Beneath("/a/b")})},
      {Rule(Effect::kAllow, kRead, {File("/a/b")}), Rule(Effect::kDeny, kRead, {Glob("/a/b")})},
      {Rule(Effect::kDeny, kRead, {Glob("/a/b/**")}),
       Rule(Effect::kAllow, kRead, {Beneath("/a/b")})},
      {Rule(Effect::kDeny, kRead, {File("/a/b")}), Rule(Effect::kAsk, kRead, {File("/a/b")})},
      {Rule(Effect::kAsk, kRead, {Beneath("/a/b")}),
       Rule(Effect::kAllow, kRead, {Beneath("/a/b")})},
      {Rule(Effect::kDeny, kRead, {Glob("/a/b*")}), Rule(Effect::kAsk, kRead, {Glob("/a/?")})},
  };
  for (size_t i = 0; i < pairs.size(); ++i) {
    const Policy forward = PolicyOf({pairs[i].first, pairs[i].second});
    const Policy backward = PolicyOf({pairs[i].second, pairs[i].first});
    EXPECT_EQ(PathRules(forward).Decide("/a/b", abi::kFsReadFile).rule, "/paths/0") << i;
    EXPECT_EQ(PathRules(backward).Decide("/a/b", abi::kFsReadFile).rule, "/paths/1") << i;
  }
}

TEST(DecidePathTest, RightsOnNamesNeedADirectoryAbove) {
  const Policy policy = PolicyOf({
      Rule(Effect::kAllow, kModify | kDevice, {Beneath("/ws"), File("/etc/hosts")}),
      Rule(Effect::kDeny, kAll, {File("/ws/secret"), Beneath("/ws/dir")}),
  });
  Check(policy,
        {
            {"/ws/new", abi::kFsMakeReg, kAllow, Reason::kRule, "/paths/0"},
            {"/ws/new", abi::kFsRefer | abi::kFsRemoveFile, kAllow, Reason::kRule, "/paths/0"},
            // The directory itself is a name in /, which nothing grants.
            {"/ws", abi::kFsRemoveDir, kDeny, Reason::kInsufficientAccess, ""},
            {"/etc/hosts", abi::kFsRemoveFile, kDeny, Reason::kInsufficientAccess, ""},
            {"/etc/hosts", abi::kFsWriteFile, kAllow, Reason::kRule, "/paths/0"},
            {"/ws/secret", abi::kFsRemoveFile, kDeny, Reason::kRule, "/paths/1"},
            {"/ws/secret", abi::kFsMakeReg, kDeny, Reason::kRule, "/paths/1"},
            {"/ws/secret2", abi::kFsMakeReg, kAllow, Reason::kRule, "/paths/0"},
            {"/ws/dir", abi::kFsRefer, kDeny, Reason::kRule, "/paths/1"},
            {"/ws/dir/x", abi::kFsMakeReg, kDeny, Reason::kRule, "/paths/1"},
        });
  const Policy root = PolicyOf({Rule(Effect::kAllow, kAll, {Beneath("/")})});
  Check(root, {{"/x", abi::kFsMakeDir, kAllow, Reason::kRule, "/paths/0"},
               {"/", abi::kFsMakeDir, kDeny, Reason::kInsufficientAccess, ""},
               {"/", abi::kFsReadDir, kAllow, Reason::kRule, "/paths/0"}});
}

TEST(DecidePathTest, FinalRulesCantBeOverridden) {
  PathRule outer = Rule(Effect::kDeny, kRead, {Beneath("/a/b")});
  outer.final = true;
  PathRule inner = Rule(Effect::kAllow, kRead, {Beneath("/a/b/c")});
  inner.final = true;
  const Policy policy = PolicyOf({Rule(Effect::kAllow, kRead | kWrite, {Beneath("/a")}), outer,
                                  Rule(Effect::kAllow, kRead | kWrite, {File("/a/b/x")}), inner});
  Check(policy, {{"/a/y", abi::kFsReadFile, kAllow, Reason::kRule, "/paths/0"},
                 {"/a/b/x", abi::kFsReadFile, kDeny, Reason::kRule, "/paths/1"},
                 {"/a/b/x", abi::kFsWriteFile, kAllow, Reason::kRule, "/paths/2"},
                 // Of two final rules the shallower.
                 {"/a/b/c/x", abi::kFsReadFile, kDeny, Reason::kRule, "/paths/1"}});
}

TEST(DecidePathTest, ProtectedBeatsEverythingForEveryRight) {
  PathRule guard = Rule(Effect::kDeny, kAll, {Beneath("/a/secret")});
  guard.is_protected = true;
  PathRule final_allow = Rule(Effect::kAllow, ~Rights{0}, {Beneath("/")});
  final_allow.final = true;
  const Policy policy =
      PolicyOf({final_allow, guard, Rule(Effect::kAllow, ~Rights{0}, {File("/a/secret/x")})});
  Check(policy,
        {{"/a/secret/x", abi::kFsReadFile, kDeny, Reason::kProtected, "/paths/1"},
         {"/a/secret", abi::kFsRemoveDir | abi::kFsReadDir, kDeny, Reason::kProtected, "/paths/1"},
         {"/a/secret/x", Rights{1} << 40, kDeny, Reason::kProtected, "/paths/1"},
         {"/a/secret2", Rights{1} << 40, kAllow, Reason::kRule, "/paths/0"}});
}

TEST(DecidePathTest, ProtectionHoldsWithoutAPathsSection) {
  Policy policy;
  PathRule guard = Rule(Effect::kDeny, kAll, {});
  guard.is_protected = true;
  guard.origin.pointer = "/protected/0";
  const PathRules rules(policy, {{PathKind::kBeneath, "/run/secrets", &guard}});
  EXPECT_FALSE(rules.restricts_paths());
  EXPECT_EQ(rules.Decide("/etc/shadow", kAll).verdict, kAllow);
  EXPECT_EQ(rules.Decide("/run/secrets/token", abi::kFsReadFile).reason, Reason::kProtected);
  EXPECT_EQ(rules.Allowed("/run/secrets/token", kAll), 0U);
}

TEST(DecidePathTest, BitsWithoutANameAreRightsLikeAnyOther) {
  constexpr Rights kNew = Rights{1} << 17;
  constexpr Rights kHighest = Rights{1} << 63;
  const Policy policy = PolicyOf({Rule(Effect::kAllow, kRead | kNew | kHighest, {Beneath("/a")}),
                                  Rule(Effect::kDeny, kNew, {File("/a/x")})});
  Check(policy, {{"/a", kNew, kAllow, Reason::kRule, "/paths/0"},
                 {"/a/y", kNew | kHighest, kAllow, Reason::kRule, "/paths/0"},
                 {"/a/x", kNew, kDeny, Reason::kRule, "/paths/1"},
                 {"/a/x", kHighest, kAllow, Reason::kRule, "/paths/0"},
                 {"/a/y", Rights{1} << 18, kDeny, Reason::kInsufficientAccess, ""}});
}

TEST(DecidePathTest, AnEmptySectionDeniesAndNoSectionAllows) {
  Check(PolicyOf({}), {{"/x", abi::kFsReadFile, kDeny, Reason::kNotCovered, ""}});
  Check(Policy{}, {{"/x", kAll, kAllow, Reason::kNotCovered, ""}});
}

TEST(DecidePathTest, ResolvedTargetsReplaceTheWrittenOnes) {
  const Policy policy = PolicyOf({Rule(Effect::kAllow, kRead, {Beneath("/link")})});
  const PathRules rules(policy, {{PathKind::kBeneath, "/real", &policy.paths->front()}});
  EXPECT_EQ(rules.Decide("/real/x", abi::kFsReadFile).verdict, kAllow);
  EXPECT_EQ(rules.Decide("/link/x", abi::kFsReadFile).verdict, kDeny);
}

TEST(DecidePathTest, EveryPolicyMustAllow) {
  const Policy wide = PolicyOf({Rule(Effect::kAllow, kAll, {Beneath("/")})});
  const Policy asks = PolicyOf(
      {Rule(Effect::kAsk, kRead, {Beneath("/q")}), Rule(Effect::kAllow, kRead, {Beneath("/ok")})});
  const Policy narrow = PolicyOf({Rule(Effect::kAllow, kRead, {Beneath("/q"), Beneath("/ok")}),
                                  Rule(Effect::kDeny, kRead, {Beneath("/q/no")})});
  const Policy none;
  std::vector<PathRules> stack;
  stack.emplace_back(wide);
  stack.emplace_back(asks);
  stack.emplace_back(narrow);
  stack.emplace_back(none);
  size_t whose = 99;
  EXPECT_EQ(DecidePath(stack, "/ok/x", abi::kFsReadFile, &whose).verdict, kAllow);
  EXPECT_EQ(whose, 2U);
  EXPECT_EQ(DecidePath(stack, "/q/x", abi::kFsReadFile, &whose).verdict, kAsk);
  EXPECT_EQ(whose, 1U);
  EXPECT_EQ(DecidePath(stack, "/q/no", abi::kFsReadFile, &whose).verdict, kDeny);
  EXPECT_EQ(whose, 2U);
  EXPECT_EQ(DecidePath(stack, "/x", abi::kFsReadFile, &whose).verdict, kDeny);
  EXPECT_EQ(whose, 1U);
  EXPECT_EQ(DecidePath(stack, "/ok/x", abi::kFsReadFile, nullptr).verdict, kAllow);
  EXPECT_EQ(DecidePath({}, "/ok/x", abi::kFsReadFile, nullptr).verdict, kDeny);
}

TEST(DecidePathTest, RulesCanBeCopiedAndMoved) {
  const Policy policy = PolicyOf({Rule(Effect::kAllow, kRead, {Beneath("/a"), Glob("/b/*")})});
  PathRules original(policy);
  const PathRules copy = original;
  const PathRules moved = std::move(original);
  EXPECT_EQ(copy.Decide("/b/x", abi::kFsReadFile).verdict, kAllow);
  EXPECT_EQ(moved.Decide("/a/x", abi::kFsReadFile).verdict, kAllow);
}

// --- properties ---------------------------------------------------------------------------------

// Up to `most` values. Not by gen::resize, which would shrink the range of every number within.
template <class T>
rc::Gen<std::vector<T>> UpTo(int most, rc::Gen<T> gen) {
  return rc::gen::resize(rc::kNominalSize, rc::gen::exec([most, gen] {
                           const auto count = *rc::gen::inRange<std::size_t>(
                               0, static_cast<std::size_t>(most) + 1);
                           return *rc::gen::container<std::vector<T>>(count, gen);
                         }));
}

rc::Gen<std::string> GenPath() {
  return rc::gen::map(UpTo<std::string>(4, rc::gen::element<std::string>("a", "b", "c")),
                      [](const std::vector<std::string>& parts) {
                        std::string path;
                        for (const std::string& part : parts) path += "/" + part;
                        return path.empty() ? std::string("/") : path;
                      });
}

rc::Gen<Rights> GenRights() {
  return rc::gen::map(
      rc::gen::nonEmpty(UpTo<Rights>(
          4, rc::gen::element<Rights>(abi::kFsReadFile, abi::kFsReadDir, abi::kFsWriteFile,
                                      abi::kFsExecute, abi::kFsMakeReg, abi::kFsRemoveFile,
                                      abi::kFsRefer, Rights{1} << 40))),
      [](const std::vector<Rights>& bits) {
        Rights rights = 0;
        for (Rights bit : bits) rights |= bit;
        return rights;
      });
}

rc::Gen<PathTarget> GenTarget(bool globs) {
  return rc::gen::exec([globs] {
    const int kind = *rc::gen::inRange(0, globs ? 3 : 2);
    std::string path = *GenPath();
    if (kind == 0) return PathTarget{PathKind::kBeneath, path};
    if (kind == 1) return PathTarget{PathKind::kFile, path};
    if (path == "/") path = "";
    return PathTarget{PathKind::kGlob,
                      path + *rc::gen::element<std::string>("/*", "/**/a", "/?", "/**", "/[ab]/c")};
  });
}

rc::Gen<PathRule> GenRule(bool allow_only) {
  return rc::gen::exec([allow_only] {
    const Effect effect = allow_only
                              ? Effect::kAllow
                              : *rc::gen::element(Effect::kAllow, Effect::kDeny, Effect::kAsk);
    PathRule rule =
        Rule(effect, *GenRights(), *UpTo<PathTarget>(3, GenTarget(effect != Effect::kAllow)));
    rule.final = !allow_only && *rc::gen::inRange(0, 5) == 0;
    return rule;
  });
}

std::vector<PathRule> SomeRules(bool allow_only) { return *UpTo<PathRule>(6, GenRule(allow_only)); }

int Permission(Verdict verdict) {
  return verdict == Verdict::kAllow ? 2 : verdict == Verdict::kAsk ? 1 : 0;
}

// What Landlock does with rules on inodes: the rights of every rule on the way up add together. A
// right on a name is asked of the directory that holds it; a rule on a file carries none.
Rights LandlockGrants(const std::vector<PathRule>& rules, const std::string& path, Rights asked) {
  const auto walk_up = [&](std::string from, bool is_object) {
    Rights sum = 0;
    for (std::string at = from;; at = std::string(Parent(at))) {
      for (const PathRule& rule : rules) {
        for (const PathTarget& target : rule.targets) {
          if (target.path != at) continue;
          if (target.kind == PathKind::kBeneath) sum |= rule.rights;
          if (target.kind == PathKind::kFile && is_object && at == from) {
            sum |= rule.rights & ~kNameRights;
          }
        }
      }
      if (at == "/") return sum;
    }
  };
  Rights granted = walk_up(path, true) & ~kNameRights;
  if (path != "/") granted |= walk_up(std::string(Parent(path)), false) & kNameRights;
  return granted & asked;
}

TEST(DecidePathProperty, AllowOnlyPoliciesMeanWhatLandlockMeans) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<PathRule> rules = SomeRules(/*allow_only=*/true);
    const Policy policy = PolicyOf(rules);
    const PathRules decided(policy);
    for (const char* path : {"/", "/a", "/b", "/a/a", "/a/b", "/b/c", "/a/b/c", "/a/b/c/a/b"}) {
      for (Rights asked : {kRead, kWrite | kExecute, kNameRights, kAll | Rights{1} << 40}) {
        const Rights granted = LandlockGrants(rules, path, asked);
        RC_ASSERT(decided.Allowed(path, asked) == granted);
        RC_ASSERT((decided.Decide(path, asked).verdict == Verdict::kAllow) == (granted == asked));
      }
    }
  }));
}

TEST(DecidePathProperty, TotalAndDefaultDeny) {
  EXPECT_TRUE(rc::check([] {
    const Policy policy = PolicyOf(SomeRules(false));
    const PathRules rules(policy);
    const std::string path = *GenPath();
    const Rights asked = *GenRights();
    const Decision decision = rules.Decide(path, asked);
    RC_ASSERT((decision.error_number == 0) == (decision.verdict == Verdict::kAllow));
    RC_ASSERT((decision.verdict == Verdict::kAllow) == (rules.Allowed(path, asked) == asked));
    if (decision.verdict != Verdict::kDeny) RC_ASSERT(!decision.rule.empty());
    // Nothing is allowed that no allow rule covers.
    for (Rights rest = asked; rest; rest &= rest - 1) {
      const Rights bit = rest & ~(rest - 1);
      const Decision own = rules.Decide(path, bit);
      if (own.verdict != Verdict::kAllow) continue;
      const bool named =
          std::any_of(policy.paths->begin(), policy.paths->end(), [&](const auto& r) {
            return r.origin.pointer == own.rule && r.effect == Effect::kAllow && (r.rights & bit);
          });
      RC_ASSERT(named);
    }
  }));
}

TEST(DecidePathProperty, SeveralRightsAreAsStrictAsTheStrictest) {
  EXPECT_TRUE(rc::check([] {
    const Policy policy = PolicyOf(SomeRules(false));
    const PathRules rules(policy);
    const std::string path = *GenPath();
    const Rights asked = *GenRights();
    int least = 2;
    for (Rights rest = asked; rest; rest &= rest - 1) {
      least = std::min(least, Permission(rules.Decide(path, rest & ~(rest - 1)).verdict));
    }
    RC_ASSERT(Permission(rules.Decide(path, asked).verdict) == least);
  }));
}

TEST(DecidePathProperty, TheOrderOfRulesDoesNotMatter) {
  EXPECT_TRUE(rc::check([] {
    std::vector<PathRule> rules = SomeRules(false);
    const Policy forward = PolicyOf(rules);
    std::reverse(rules.begin(), rules.end());
    for (PathRule& rule : rules) std::reverse(rule.targets.begin(), rule.targets.end());
    const Policy backward = PolicyOf(rules);
    const std::string path = *GenPath();
    const Rights asked = *GenRights();
    const Decision a = PathRules(forward).Decide(path, asked);
    const Decision b = PathRules(backward).Decide(path, asked);
    RC_ASSERT(a.verdict == b.verdict);
    RC_ASSERT(a.reason == b.reason);
  }));
}

TEST(DecidePathProperty, ADenyMoreNeverAllowsMore) {
  EXPECT_TRUE(rc::check([] {
    std::vector<PathRule> rules = SomeRules(false);
    const Policy before = PolicyOf(rules);
    PathRule added = *GenRule(false);
    added.effect = Effect::kDeny;
    rules.insert(rules.begin() + *rc::gen::inRange<long>(0, static_cast<long>(rules.size()) + 1),
                 added);
    const Policy after = PolicyOf(rules);
    const std::string path = *GenPath();
    const Rights asked = *GenRights();
    RC_ASSERT(Permission(PathRules(after).Decide(path, asked).verdict) <=
              Permission(PathRules(before).Decide(path, asked).verdict));
  }));
}

// The documented order once more, written as a search instead of as a number.
TEST(DecidePathProperty, AgreesWithTheRuleAsItIsWritten) {
  struct Candidate {
    const PathRule* rule;
    PathKind kind;
    size_t depth;
  };
  EXPECT_TRUE(rc::check([] {
    const Policy policy = PolicyOf(SomeRules(false));
    const std::string path = *GenPath();
    const Rights bit = *rc::gen::element<Rights>(abi::kFsReadFile, abi::kFsMakeReg, abi::kFsRefer);
    std::vector<Candidate> candidates;
    for (const PathRule& rule : *policy.paths) {
      if (!(rule.rights & bit)) continue;
      for (const PathTarget& target : rule.targets) {
        bool covers = false;
        size_t depth = Depth(target.path);
        if (target.kind == PathKind::kBeneath) {
          covers = IsAtOrBeneath(path, target.path);
        } else if (target.kind == PathKind::kFile) {
          covers = path == target.path;
        } else {
          depth = Depth(LiteralPrefix(target.path));
          for (std::string at = path;; at = std::string(Parent(at))) {
            covers = covers || GlobMatches(target.path, at);
            if (at == "/") break;
          }
        }
        if (rule.effect == Effect::kAllow && (bit & kNameRights)) {
          covers = target.kind == PathKind::kBeneath && IsBeneath(path, target.path);
        }
        if (covers) candidates.push_back({&rule, target.kind, depth});
      }
    }
    const auto keep = [&](auto predicate) {
      if (std::any_of(candidates.begin(), candidates.end(), predicate)) {
        std::erase_if(candidates, [&](const Candidate& c) { return !predicate(c); });
      }
    };
    keep([](const Candidate& c) { return c.rule->final; });
    if (!candidates.empty()) {
      const auto less = [](const Candidate& a, const Candidate& b) { return a.depth < b.depth; };
      const size_t depth =
          candidates.front().rule->final
              ? std::min_element(candidates.begin(), candidates.end(), less)->depth
              : std::max_element(candidates.begin(), candidates.end(), less)->depth;
      keep([&](const Candidate& c) { return c.depth == depth; });
    }
    keep([](const Candidate& c) { return c.kind == PathKind::kFile; });
    keep([](const Candidate& c) { return c.kind == PathKind::kGlob; });
    keep([](const Candidate& c) { return c.rule->effect == Effect::kDeny; });
    keep([](const Candidate& c) { return c.rule->effect == Effect::kAsk; });
    const Decision decision = PathRules(policy).Decide(path, bit);
    if (candidates.empty()) {
      RC_ASSERT(decision.verdict == Verdict::kDeny);
      RC_ASSERT(decision.reason != Reason::kRule);
      return;
    }
    const Effect effect = candidates.front().rule->effect;
    RC_ASSERT(decision.verdict == (effect == Effect::kAllow ? Verdict::kAllow
                                   : effect == Effect::kAsk ? Verdict::kAsk
                                                            : Verdict::kDeny));
    RC_ASSERT(decision.reason == Reason::kRule);
    RC_ASSERT(std::any_of(candidates.begin(), candidates.end(), [&](const Candidate& c) {
      return c.rule->origin.pointer == decision.rule;
    }));
  }));
}

TEST(DecidePathTest, ManyRulesAndManyQuestions) {
  std::vector<PathRule> rules;
  for (int i = 0; i < 500; ++i) {
    const std::string name = std::to_string(i);
    rules.push_back(i % 10 == 0 ? Rule(Effect::kDeny, kAll, {Glob("/ws/d" + name + "/**/*.key")})
                                : Rule(Effect::kAllow, kRead, {Beneath("/ws/d" + name)}));
  }
  const Policy policy = PolicyOf(rules);
  const PathRules decided(policy);
  const auto begin = std::chrono::steady_clock::now();
  int allowed = 0;
  for (int i = 0; i < 10000; ++i) {
    const std::string path = "/ws/d" + std::to_string(i % 500) + "/a/b/c/d/e.key";
    if (decided.Decide(path, abi::kFsReadFile).verdict == Verdict::kAllow) ++allowed;
  }
  EXPECT_EQ(allowed, 9000);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace landgate::policy
