// The kernel under a compiled floor against DecidePath, for generated policies over a small tree:
// every operation is really tried. The kernel must never allow what the policies deny, and must
// allow what they allow, but for the mount points that masks and pins are.
//
// LANDGATE_PROPERTY_CASES sets the number of cases; RC_PARAMS="reproduce=…" repeats a failure.
#include <dirent.h>
#include <rapidcheck.h>

#include <map>
#include <set>

#include "base/paths.h"
#include "floor_harness.h"
#include "policy/decide_path.h"

namespace landgate::sandbox {
namespace {

using policy::PathRules;
using policy::Policy;
using policy::Rights;

const char* const kDirectories[] = {"/w", "/w/a", "/w/a/c", "/w/a/c/d", "/w/b"};
const char* const kNames[] = {"f", "g"};

// What a rule may name: as written, and what it leads to.
struct Spelling {
  const char* written;
  const char* resolved;
  bool file;
};
const Spelling kSpellings[] = {
    {"/w", "/w", false},
    {"/w/a", "/w/a", false},
    {"/w/a/c", "/w/a/c", false},
    {"/w/b", "/w/b", false},
    {"/w/a/c/d", "/w/a/c/d", false},
    {"/w/ln/c", "/w/a/c", false},
    {"/w/f", "/w/f", true},
    {"/w/a/f", "/w/a/f", true},
    {"/w/a/c/g", "/w/a/c/g", true},
    {"/w/ln/f", "/w/a/f", true},
    {"/w/b/g", "/w/b/g", true},
    {"/w/a/c/d/f", "/w/a/c/d/f", true},
    {"/m", "/m", false},
    {"/m/c", "/m/c", false},
    {"/m/f", "/m/f", true},
};
constexpr size_t kWithoutSecondMount = 12;
const char* const kGlobs[] = {"/w/**/f", "/w/*/g", "/w/a/**/g", "/w/*/c"};
const char* const kAllows[] = {R"("read")",
                               R"("read", "modify")",
                               R"("read", "execute")",
                               R"("read", "modify", "execute")",
                               R"("read", "write")",
                               R"("read", "create", "remove")",
                               R"("all")"};
const char* const kDenials[] = {R"("all")", R"("modify")", R"("execute")",
                                R"("modify", "execute")"};

struct RuleSpec {
  int kind = 0;  // 0–3 allow, 4–6 deny, 7 deny a glob
  int rights = 0;
  int target = 0;
};
using PolicySpec = std::vector<RuleSpec>;

template <size_t N>
const char* Pick(const char* const (&list)[N], int index) {
  return list[static_cast<size_t>(index) % N];
}
const Spelling& SpellingOf(const RuleSpec& rule, bool second_mount) {
  const size_t count = second_mount ? std::size(kSpellings) : kWithoutSecondMount;
  return kSpellings[static_cast<size_t>(rule.target) % count];
}

std::string TextOf(const PolicySpec& spec, bool second_mount) {
  std::string text = R"({"landgate": 1, "paths": [)";
  // Something must be allowed, or no floor is made at all.
  text += R"({"allow": ["read", "execute"], "beneath": ["/bin"]})";
  for (const RuleSpec& rule : spec) {
    const bool allow = rule.kind < 4;
    text += std::string(", {") + (allow ? R"("allow")" : R"("deny")") + ": [" +
            (allow ? Pick(kAllows, rule.rights) : Pick(kDenials, rule.rights)) + "], ";
    if (rule.kind == 7) {
      text += std::string(R"("glob": [")") + Pick(kGlobs, rule.target) + R"("]})";
    } else {
      const Spelling& spelling = SpellingOf(rule, second_mount);
      text += std::string(spelling.file ? R"("file")" : R"("beneath")") + R"(: [")" +
              spelling.written + R"("]})";
    }
  }
  return text + "]}";
}

// The rules as DecidePath has them, resolved by the test's own knowledge of the tree.
std::vector<PathRules> RulesOf(const std::vector<Policy>& policies, bool with_globs) {
  std::vector<PathRules> rules;
  for (const Policy& policy : policies) {
    std::vector<policy::ResolvedTarget> targets;
    for (const policy::PathRule& rule : *policy.paths) {
      for (const policy::PathTarget& target : rule.targets) {
        if (target.kind == policy::PathKind::kGlob && !with_globs) continue;
        std::string path = target.path;
        if (path.starts_with("/w/ln")) path = "/w/a" + path.substr(5);
        targets.push_back({target.kind, path, &rule});
      }
    }
    rules.emplace_back(policy, std::move(targets));
  }
  return rules;
}

struct Tree {
  bool second_mount = false;
  std::vector<std::string> directories;
  std::vector<std::string> files;
  std::map<std::string, ObjectId> objects;

  std::vector<std::string> NamesOf(const std::string& path) const {
    std::vector<std::string> names = {path};
    if (second_mount && IsAtOrBeneath(path, "/w/a")) names.push_back("/m" + path.substr(4));
    if (second_mount && IsAtOrBeneath(path, "/m")) names.push_back("/w/a" + path.substr(2));
    return names;
  }
};

ObjectId IdOf(const struct stat& st) {
  return {gnu_dev_major(st.st_dev), gnu_dev_minor(st.st_dev), st.st_ino};
}

Tree MakeTree(TestRoot& root, bool second_mount) {
  Tree tree;
  tree.second_mount = second_mount;
  root.Directory("/bin");
  for (const char* directory : kDirectories) {
    root.Directory(directory);
    tree.directories.push_back(directory);
    for (const char* name : kNames) {
      const std::string file = std::string(directory) + "/" + name;
      root.File(file, "#!/nonexistent\n");
      tree.files.push_back(file);
    }
  }
  root.Symlink("/w/a", "/w/ln");
  if (second_mount) {
    root.Directory("/m");
    root.Bind("/w/a", "/m");
    for (const char* directory : {"/m", "/m/c", "/m/c/d"}) {
      tree.directories.push_back(directory);
      for (const char* name : kNames) tree.files.push_back(std::string(directory) + "/" + name);
    }
  }
  for (const auto* list : {&tree.directories, &tree.files}) {
    for (const std::string& path : *list) {
      struct stat st;
      TestRoot::Must(lstat(root.Outside(path).c_str(), &st), path);
      tree.objects[path] = IdOf(st);
    }
  }
  return tree;
}

class Differential {
 public:
  Differential(const Tree& tree, const std::vector<Policy>& policies, const Floor& floor,
               Report& report)
      : tree_(tree),
        rules_(RulesOf(policies, true)),
        literal_(RulesOf(policies, false)),
        report_(report) {
    for (const MountStep& step : floor.mounts) points_.insert(step.path);
  }

  void Run() {
    for (const std::string& path : tree_.files) ProbeFile(path);
    for (const std::string& path : tree_.directories) ProbeDirectory(path);
    for (const std::string& path : tree_.directories) ProbeEntries(path);
    for (const std::string& from : tree_.directories) {
      for (const std::string& to : tree_.directories) ProbeMove(from, to);
    }
    for (const std::string& path : tree_.directories) ProbeRename(path);
    for (const std::string& path : tree_.files) ProbeUnlink(path);
  }

 private:
  // By every policy, each right by some name of the object, and denied by none at this very name.
  bool MayBe(const std::vector<PathRules>& rules, const std::string& path, Rights rights) const {
    for (const PathRules& one : rules) {
      Rights by_some_name = 0;
      for (const std::string& name : tree_.NamesOf(path)) by_some_name |= one.Allowed(name, rights);
      if (by_some_name != rights) return false;
      for (Rights rest = rights; rest; rest &= rest - 1) {
        const policy::Decision decision = one.Decide(path, rest & -rest);
        if (decision.verdict != policy::Verdict::kAllow &&
            decision.reason == policy::Reason::kRule) {
          return false;
        }
      }
    }
    return true;
  }
  // By every policy at this very name, and denied by no rule at any other name.
  bool MustBe(const std::string& path, Rights rights) const {
    for (const PathRules& one : rules_) {
      if (one.Allowed(path, rights) != rights) return false;
      for (const std::string& name : tree_.NamesOf(path)) {
        for (Rights rest = rights; rest; rest &= rest - 1) {
          const policy::Decision decision = one.Decide(name, rest & -rest);
          if (decision.verdict != policy::Verdict::kAllow &&
              decision.reason == policy::Reason::kRule) {
            return false;
          }
        }
      }
    }
    return true;
  }

  void Check(const std::string& what, const std::string& path, Rights rights, bool kernel,
             bool existed = true) {
    const bool may = MayBe(existed ? rules_ : literal_, path, rights);
    if (kernel && !may) report_.Fail("MORE: " + what + " " + path);
    if (!kernel && MustBe(path, rights)) report_.Fail("LESS: " + what + " " + path);
  }

  bool IsPoint(const std::string& path) const { return points_.contains(path); }

  // Opened, and it is the object that was there before the masks.
  bool Opens(const std::string& path, int flags) const {
    const UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC));
    struct stat st;
    return fd.valid() && fstat(fd.get(), &st) == 0 && IdOf(st) == tree_.objects.at(path);
  }

  void ProbeFile(const std::string& path) {
    const std::string& p = path;
    Check("read", p, abi::kFsReadFile, Opens(p, O_RDONLY));
    Check("write", p, abi::kFsWriteFile, Opens(p, O_WRONLY));
    Check("read and write", p, abi::kFsReadFile | abi::kFsWriteFile, Opens(p, O_RDWR));
    Check("truncate", p, abi::kFsTruncate, truncate(p.c_str(), 15) == 0);
    const int found = Errno(execl(p.c_str(), "x", nullptr));
    struct stat st;
    const bool real = stat(p.c_str(), &st) == 0 && IdOf(st) == tree_.objects.at(p);
    // ENOENT is the interpreter: the file was opened for execution.
    Check("execute", p, abi::kFsReadFile | abi::kFsExecute, real && found == ENOENT);
  }

  void ProbeDirectory(const std::string& path) {
    Check("list", path, abi::kFsReadDir, Opens(path, O_RDONLY | O_DIRECTORY));
    // Not empty: the kernel says so after Landlock has agreed.
    if (IsPoint(path) || tree_.NamesOf(path).size() > 1 || path == "/m") return;
    Check("rmdir", path, abi::kFsRemoveDir, Errno(rmdir(path.c_str())) == ENOTEMPTY);
  }

  void ProbeEntries(const std::string& directory) {
    const std::string base = directory + "/fresh" + std::to_string(++counter_);
    const std::string file = base + "r";
    const bool made = mknod(file.c_str(), S_IFREG | 0755, 0) == 0;
    Check("make_reg", file, abi::kFsMakeReg, made, false);
    Check("make_dir", base + "d", abi::kFsMakeDir, mkdir((base + "d").c_str(), 0755) == 0, false);
    Check("make_sym", base + "s", abi::kFsMakeSym, symlink("x", (base + "s").c_str()) == 0, false);
    Check("make_fifo", base + "p", abi::kFsMakeFifo, mkfifo((base + "p").c_str(), 0644) == 0,
          false);
    if (!made) return;
    Check("read new", file, abi::kFsReadFile, OpenErrno(file, O_RDONLY) == 0, false);
    Check("write new", file, abi::kFsWriteFile, OpenErrno(file, O_WRONLY) == 0, false);
    const std::string link = base + "l";
    Check("link", link, abi::kFsMakeReg, ::link(file.c_str(), link.c_str()) == 0, false);
    const std::string moved = base + "m";
    const bool renamed = rename(file.c_str(), moved.c_str()) == 0;
    Check("rename", file, abi::kFsRemoveFile | abi::kFsMakeReg, renamed, false);
    const std::string& left = renamed ? moved : file;
    Check("remove_file", left, abi::kFsRemoveFile, unlink(left.c_str()) == 0, false);
  }

  // Only never more: Landlock refuses what would gain rights on the way.
  void ProbeMove(const std::string& from, const std::string& to) {
    if (from == to) return;
    const std::string source = from + "/move" + std::to_string(++counter_);
    if (mknod(source.c_str(), S_IFREG | 0755, 0) < 0) return;
    const std::string target = to + "/moved" + std::to_string(counter_);
    const std::string linked = to + "/linked" + std::to_string(counter_);
    if (link(source.c_str(), linked.c_str()) == 0 &&
        !MayBe(literal_, linked, abi::kFsMakeReg | abi::kFsRefer)) {
      report_.Fail("MORE: link " + source + " " + linked);
    }
    if (rename(source.c_str(), target.c_str()) < 0) return;
    if (!MayBe(literal_, source, abi::kFsRemoveFile | abi::kFsRefer) ||
        !MayBe(literal_, target, abi::kFsMakeReg | abi::kFsRefer)) {
      report_.Fail("MORE: move " + source + " " + target);
    }
  }

  // A directory that can be renamed takes nothing denied with it that then is open.
  void ProbeRename(const std::string& path) {
    const std::string moved = path + "_moved";
    const bool renamed = rename(path.c_str(), moved.c_str()) == 0;
    if (renamed && !MayBe(rules_, path, abi::kFsRemoveDir | abi::kFsMakeDir)) {
      report_.Fail("MORE: rename " + path);
    }
    if (!renamed) {
      if (points_.empty() && path != "/m" && MustBe(path, abi::kFsRemoveDir | abi::kFsMakeDir) &&
          MustBe(moved, abi::kFsRemoveDir | abi::kFsMakeDir)) {
        report_.Fail("LESS: rename " + path);
      }
      return;
    }
    for (const std::string& file : tree_.files) {
      if (!IsBeneath(file, path)) continue;
      const std::string now = moved + file.substr(path.size());
      const UniqueFd fd(open(now.c_str(), O_RDONLY | O_CLOEXEC));
      struct stat st;
      const bool real =
          fd.valid() && fstat(fd.get(), &st) == 0 && IdOf(st) == tree_.objects.at(file);
      if (real && !MayBe(rules_, file, abi::kFsReadFile)) {
        report_.Fail("MORE: read " + file + " as " + now);
      }
    }
    MakeAgain(path);
    if (rename(moved.c_str(), path.c_str()) < 0) report_.Fail("can't move back " + path);
  }

  // The old names, made anew where a directory was moved away, are denied as they were.
  void MakeAgain(const std::string& path) {
    std::vector<std::string> made;
    for (const std::string& directory : tree_.directories) {
      if (!IsAtOrBeneath(directory, path) || mkdir(directory.c_str(), 0755) < 0) continue;
      made.push_back(directory);
      if (!MayBe(literal_, directory, abi::kFsMakeDir)) {
        report_.Fail("MORE: make again " + directory);
      }
      const std::string file = directory + "/again";
      if (mknod(file.c_str(), S_IFREG | 0755, 0) < 0) continue;
      if (!MayBe(literal_, file, abi::kFsMakeReg)) report_.Fail("MORE: make " + file);
      for (const auto& [flags, right] :
           {std::pair{O_RDONLY, abi::kFsReadFile}, std::pair{O_WRONLY, abi::kFsWriteFile}}) {
        if (OpenErrno(file, flags) == 0 && !MayBe(literal_, file, right)) {
          report_.Fail("MORE: open " + file);
        }
      }
      unlink(file.c_str());
    }
    for (auto last = made.rbegin(); last != made.rend(); ++last) rmdir(last->c_str());
  }

  void ProbeUnlink(const std::string& path) {
    if (access(path.c_str(), F_OK) < 0) return;  // removed by its other name, or masked
    struct stat st;
    const bool real = stat(path.c_str(), &st) == 0 && IdOf(st) == tree_.objects.at(path);
    const bool removed = unlink(path.c_str()) == 0;
    if (removed && (!real || !MayBe(rules_, path, abi::kFsRemoveFile))) {
      report_.Fail("MORE: unlink " + path);
    }
    bool point = false;
    for (const std::string& name : tree_.NamesOf(path)) point = point || IsPoint(name);
    if (!removed && !point && MustBe(path, abi::kFsRemoveFile)) {
      report_.Fail("LESS: unlink " + path);
    }
  }

  const Tree& tree_;
  std::vector<PathRules> rules_;
  std::vector<PathRules> literal_;
  Report& report_;
  std::set<std::string> points_;
  int counter_ = 0;
};

constexpr char kRefused[] = "REFUSED";

std::string TryCase(const std::vector<std::string>& texts, bool second_mount) {
  return InRoot([&](TestRoot& root, Report& report) {
    const Tree tree = MakeTree(root, second_mount);
    Result<std::vector<Policy>> policies = TestRoot::Decode(texts);
    if (!policies) return report.Fail("decode: " + policies.error().message);
    CompileInput input;
    input.policies = *policies;
    input.landlock_abi = LandlockAbi();
    Result<Floor> floor = Compile(input, root.root());
    if (!floor) return report.Fail(kRefused + (": " + floor.error().message));
    if (Status placed = root.Place(*floor); !placed) {
      return report.Fail("place: " + placed.error().message);
    }
    if (Status entered = root.Enter(*floor); !entered) {
      return report.Fail("enter: " + entered.error().message);
    }
    Differential(tree, *policies, *floor, report).Run();
    if (!report.text().empty()) report.Fail(FloorText(*floor));
  });
}

TEST(FloorProperty, TheKernelAllowsWhatThePoliciesAllow) {
  SKIP_UNLESS_POSSIBLE();
  const char* const cases = getenv("LANDGATE_PROPERTY_CASES");
  setenv("RC_PARAMS", (std::string("max_success=") + (cases ? cases : "400")).c_str(), 0);
  int tried = 0, refused = 0, with_second_mount = 0;
  const auto rule = rc::gen::map(
      rc::gen::tuple(rc::gen::inRange(0, 8), rc::gen::inRange(0, 28), rc::gen::inRange(0, 60)),
      [](const std::tuple<int, int, int>& t) {
        return RuleSpec{std::get<0>(t), std::get<1>(t), std::get<2>(t)};
      });
  const bool held = rc::check("kernel against DecidePath", [&] {
    const auto stack = *rc::gen::resize(
        100, rc::gen::mapcat(rc::gen::inRange<size_t>(1, 4), [&](size_t policies) {
          return rc::gen::container<std::vector<PolicySpec>>(
              policies, rc::gen::mapcat(rc::gen::inRange<size_t>(1, 7), [&](size_t rules) {
                return rc::gen::container<PolicySpec>(rules, rule);
              }));
        }));
    const bool second_mount = *rc::gen::resize(100, rc::gen::inRange(0, 3)) == 0;
    std::vector<std::string> texts;
    std::string shown;
    for (const PolicySpec& spec : stack) {
      texts.push_back(TextOf(spec, second_mount));
      shown += texts.back() + "\n";
    }
    const std::string answer = TryCase(texts, second_mount);
    ++tried;
    with_second_mount += second_mount ? 1 : 0;
    if (answer.starts_with(kRefused)) {
      ++refused;
      return;
    }
    if (!answer.empty()) RC_FAIL(shown + (second_mount ? "with /m\n" : "") + answer);
  });
  printf("%d cases, %d refused by the compiler, %d with a second mount\n", tried, refused,
         with_second_mount);
  EXPECT_TRUE(held);
  EXPECT_LT(refused * 2, tried) << "the generator makes too few policies that compile";
}

}  // namespace
}  // namespace landgate::sandbox
