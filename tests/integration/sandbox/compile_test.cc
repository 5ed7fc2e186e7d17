#include "sandbox/compile.h"

#include <gmock/gmock.h>

#include <chrono>

#include "base/paths.h"
#include "floor_harness.h"
#include "policy/json_reader.h"

namespace landgate::sandbox {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const char* const kEverything =
    R"({"landgate": 1, "paths": [{"allow": ["read", "modify", "execute"], "beneath": ["/"]}]})";

std::string Paths(const std::string& rules) {
  return R"({"landgate": 1, "paths": [)" + rules + "]}";
}

// One line: "compiled", or why not.
std::string TryPolicy(const TestRoot& root, const std::vector<std::string>& texts) {
  const Result<Floor> floor = root.CompileTexts(texts);
  return floor ? "compiled" : floor.error().message;
}

void MakeTree(const TestRoot& root) {
  root.File("/w/file");
  root.File("/w/dir/file");
  root.File("/etc/passwd");
  root.Symlink("/etc/passwd", "/w/link");
  root.Symlink("/", "/w/top");
  root.Symlink("../../../../../../../etc", "/w/dots");
  root.Symlink("loop2", "/w/loop1");
  root.Symlink("loop1", "/w/loop2");
  root.Directory("/dev");
  TestRoot::Must(mknod(root.Outside("/dev/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), "null");
  TestRoot::Must(mkfifo(root.Outside("/w/fifo").c_str(), 0644), "fifo");
}

struct Refusal {
  const char* rules;
  const char* says;
};

TEST(Compile, RefusesWithTheWayOut) {
  SKIP_UNLESS_POSSIBLE();
  const Refusal refusals[] = {
      {R"({"allow": ["read"], "beneath": ["/missing"]})", "optional"},
      {R"({"allow": ["read"], "beneath": ["/w"]}, {"deny": ["all"], "file": ["/w/missing"]})",
       "p0.json: /paths/1: /w/missing: not in the container"},
      {R"({"allow": ["read"], "file": ["/w/file/beneath"]})", "not in the container"},
      {R"({"allow": ["read"], "file": ["/w/dir"]})", "use \"beneath\""},
      {R"({"allow": ["read"], "beneath": ["/w"]}, {"deny": ["all"], "file": ["/w/dir"]})",
       "use \"beneath\""},
      {R"({"allow": ["read"], "beneath": ["/w/top"]})", "say \"/\""},
      {R"({"allow": ["read", "write"], "file": ["/w/link"]})", "name /etc/passwd"},
      {R"({"allow": ["modify"], "beneath": ["/w/dots"]})", "name /etc"},
      {R"({"allow": ["read"], "beneath": ["/w/loop1"]})", "40 symlinks"},
      {R"({"allow": ["read", "modify"], "beneath": ["/"]},
          {"deny": ["modify"], "file": ["/dev/null"]})",
       "no mount takes just"},
      {R"({"allow": ["read", "modify"], "beneath": ["/"]},
          {"deny": ["modify"], "file": ["/w/fifo"]})",
       "no mount takes just"},
      {R"({"allow": ["read", "modify"], "beneath": ["/"]},
          {"deny": ["modify"], "beneath": ["/dev"]})",
       "holds device nodes"},
      {R"({"allow": ["all"], "beneath": ["/"]}, {"deny": ["all"], "beneath": ["/w"]},
          {"allow": ["read", "modify"], "beneath": ["/w/dir"]})",
       "no mount takes just"},
      {R"({"deny": ["all"], "beneath": ["/w"]})", "nothing in the container is allowed"},
  };
  for (const Refusal& refusal : refusals) {
    EXPECT_EQ("", InRoot([&](TestRoot& root, Report& report) {
                MakeTree(root);
                const std::string answer = TryPolicy(root, {Paths(refusal.rules)});
                if (answer.find(refusal.says) == std::string::npos) {
                  report.Fail(refusal.rules + (": " + answer));
                }
              }));
  }
}

TEST(Compile, TakesWhatIsMeant) {
  SKIP_UNLESS_POSSIBLE();
  const char* const accepted[] = {
      R"({"allow": ["read"], "file": ["/w/link"]})",
      R"({"allow": ["read"], "beneath": ["/w/dots"]})",
      R"({"allow": ["read", "write"], "file": ["/w/link", "/etc/passwd"]})",
      R"({"allow": ["read", "write"], "file": ["/w/link"]},
         {"allow": ["read", "write"], "beneath": ["/etc"]})",
      R"({"allow": ["read"], "beneath": ["/w"]},
         {"allow": ["read"], "beneath": ["/missing"], "optional": true},
         {"deny": ["all"], "file": ["/w/missing"], "optional": true})",
      R"({"allow": ["read", "write"], "beneath": ["/dev/null", "/w/file", "/w/fifo"]})",
      R"({"allow": ["read"], "beneath": ["/"]}, {"deny": ["modify"], "beneath": ["/dev"]})",
  };
  for (const char* rules : accepted) {
    EXPECT_EQ("", InRoot([&](TestRoot& root, Report& report) {
                MakeTree(root);
                const std::string answer = TryPolicy(root, {Paths(rules)});
                if (answer != "compiled") report.Fail(rules + (": " + answer));
              }));
  }
}

// A rule path through symlinks that the image controls stays in the container's root.
TEST(Compile, SymlinksStayInTheRoot) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              MakeTree(root);
              root.Symlink("/../../../../w/dots", "/w/again");
              Result<Floor> floor =
                  root.CompileTexts({Paths(R"({"allow": ["read"], "beneath": ["/w/again"]})")});
              if (!floor) return report.Fail(floor.error().message);
              report.True("one rule", floor->plan.layers.at(0).paths.size() == 1 &&
                                          floor->plan.layers.at(0).paths.at(0).path == "/etc");
              struct stat inside;
              TestRoot::Must(stat(root.Outside("/etc").c_str(), &inside), "stat");
              report.True("the container's own",
                          floor->plan.layers.at(0).paths.at(0).object->inode == inside.st_ino);
            }));
}

TEST(Compile, AnAllowAndADenyAtOnePathCancel) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              MakeTree(root);
              Result<Floor> floor =
                  root.CompileTexts({Paths(R"({"allow": ["read", "modify"], "beneath": ["/w"]},
                            {"deny": ["modify"], "beneath": ["/w"]})")});
              if (!floor) return report.Fail(floor.error().message);
              report.True("no mount", floor->mounts.empty());
              report.True("read alone",
                          floor->plan.layers.at(0).paths.at(0).rights == policy::kRead);
            }));
}

TEST(Compile, HardLinks) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              MakeTree(root);
              TestRoot::Must(link(root.Outside("/w/file").c_str(), root.Outside("/w/old").c_str()),
                             "link");
              const std::string allow = R"({"allow": ["read"], "beneath": ["/w"]}, )";
              for (const char* rule : {R"({"deny": ["all"], "file": ["/w/file"]})",
                                       R"({"deny": ["all"], "glob": ["/w/fil?"]})"}) {
                const std::string answer = TryPolicy(root, {Paths(allow + rule)});
                report.True(answer, answer.find("\"hardlinks\": \"accept\"") != std::string::npos);
              }
              if (!root.Confine({Paths(allow + R"({"deny": ["all"], "file": ["/w/file"],
                                                   "hardlinks": "accept"})")},
                                report)) {
                return;
              }
              report.Is("the denied name", EACCES, OpenErrno("/w/file", O_RDONLY));
              report.Is("the other name, as the rule accepts", 0, OpenErrno("/w/old", O_RDONLY));
            }));
}

TEST(Compile, GlobsAreExpandedAtStart) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              for (const char* path : {"/w/.env", "/w/a/.env", "/w/a/b/.env", "/w/a/env",
                                       "/w/x.key", "/w/y.keys", "/proc/w/.env"}) {
                root.File(path);
              }
              root.Symlink("a/env", "/w/b.key");
              Result<Floor> floor =
                  root.CompileTexts({Paths(R"({"allow": ["read", "modify"], "beneath": ["/"]},
                            {"deny": ["all"], "glob": ["/**/.env", "/w/*.key"]})")});
              if (!floor) return report.Fail(floor.error().message);
              std::string masked;
              for (const Means& means : floor->means) {
                if (means.means == "mask") masked += means.resolved + " ";
              }
              report.True("masked: " + masked, masked == "/w/.env /w/a/.env /w/a/b/.env /w/x.key ");
              report.True("the symlink is told",
                          floor->warnings.size() == 1 &&
                              floor->warnings.front().find("/w/b.key") != std::string::npos);
              if (Status placed = root.Place(*floor); !placed) {
                return report.Fail(placed.error().message);
              }
              if (Status entered = root.Enter(*floor); !entered) {
                return report.Fail(entered.error().message);
              }
              report.Is("matched", EACCES, OpenErrno("/w/a/b/.env", O_RDONLY));
              report.Is("pinned", EBUSY, Errno(rename("/w/a/b", "/w/a/c")));
              report.Is("not matched", 0, OpenErrno("/w/y.keys", O_RDONLY));
              report.Is("not matched either", 0, OpenErrno("/w/a/env", O_RDONLY));
            }));
}

TEST(Compile, GlobsAreBounded) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              for (int i = 0; i < 2001; ++i) root.File("/w/" + std::to_string(i) + ".env");
              const std::string answer =
                  TryPolicy(root, {Paths(R"({"allow": ["read"], "beneath": ["/w"]},
                                            {"deny": ["all"], "glob": ["/w/*.env"]})")});
              report.True(answer, answer.find("more than 2000 matches") != std::string::npos);
            }));
}

TEST(Compile, TheStackAllowsWhatAllAllow) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              MakeTree(root);
              if (!root.Confine({kEverything, Paths(R"({"allow": ["read"], "beneath": ["/w"]},
                    {"deny": ["all"], "beneath": ["/w/dir"]})")},
                                report)) {
                return;
              }
              report.Is("both", 0, OpenErrno("/w/file", O_RDONLY));
              report.Is("the first alone", EACCES, OpenErrno("/w/file", O_WRONLY));
              report.Is("the first alone", EACCES, OpenErrno("/etc/passwd", O_RDONLY));
              report.Is("denied by the second", ENOENT, OpenErrno("/w/dir/file", O_RDONLY));
            }));
}

TEST(Compile, WithoutPathsNothingIsRestrictedButMounts) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              MakeTree(root);
              if (!root.Confine({R"({"landgate": 1})"}, report)) return;
              report.Is("write", 0, OpenErrno("/etc/passwd", O_WRONLY));
              report.Is("move", 0, Errno(rename("/w/file", "/etc/file")));
              report.Is("block device", 0, Errno(mknod("/w/b", S_IFBLK, makedev(7, 0))));
              report.Is("mount", EPERM, Errno(mount("x", "/w", "tmpfs", 0, nullptr)));
            }));
}

TEST(Compile, ALandlockDocumentIsALayerOfItsOwn) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              MakeTree(root);
              const std::string text = R"({"landgate": 1,
                "paths": [{"allow": ["read", "write"], "beneath": ["/"]},
                          {"deny": ["all"], "beneath": ["/w/dir"]}],
                "landlock": [{"ruleset": [{"handledAccessFs": ["write_file"]}],
                  "pathBeneath": [{"allowedAccess": ["write_file"],
                                   "parent": ["/w", "/w/dir", "/missing"]}]}]})";
              Result<Floor> floor = root.CompileTexts({text});
              if (!floor) return report.Fail(floor.error().message);
              report.Is("layers", 2, static_cast<int>(floor->plan.layers.size()));
              if (!root.Confine({text}, report)) return;
              report.Is("within", 0, OpenErrno("/w/file", O_WRONLY));
              report.Is("outside", EACCES, OpenErrno("/etc/passwd", O_WRONLY));
              report.Is("not handled", 0, OpenErrno("/etc/passwd", O_RDONLY));
            }));
}

// --- what another kernel would hold: decided by number, no kernel needed
// -----------------------------

Result<Floor> CompileFor(int landlock_abi, const std::string& text) {
  Result<std::vector<policy::Policy>> policies = TestRoot::Decode({text});
  if (!policies) return Forward(policies);
  CompileInput input;
  input.policies = *policies;
  input.landlock_abi = landlock_abi;
  const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  return Compile(input, root);
}

std::string WithCompatibility(const std::string& compatibility) {
  return R"({"landgate": 1, "compatibility": )" + compatibility +
         R"(, "paths": [{"allow": ["read", "execute"], "beneath": ["/"]}],
            "network": [{"allow": ["connect"], "to": ["*:443"]}], "scopes": ["signal"]})";
}

TEST(Abi, RequiredRefusesWhatTheKernelLacks) {
  const std::string text = WithCompatibility(R"({"landlock": "required"})");
  const struct {
    int abi;
    const char* says;
  } cases[] = {{0, "found none"},
               {1, "fs.refer needs Landlock ABI 2, found ABI 1"},
               {2, "fs.truncate needs Landlock ABI 3, found ABI 2"},
               {3, "fs.ioctl_dev needs Landlock ABI 5, found ABI 3"},
               {4, "fs.ioctl_dev needs Landlock ABI 5, found ABI 4"},
               {5, "scope.signal needs Landlock ABI 6, found ABI 5"}};
  for (const auto& one : cases) {
    const Result<Floor> floor = CompileFor(one.abi, text);
    ASSERT_FALSE(floor) << one.abi;
    EXPECT_THAT(floor.error().message, HasSubstr(one.says));
    EXPECT_EQ(floor.error().status, ExitStatus::kImpossible);
  }
  for (int abi = 6; abi <= 11; ++abi) {
    const Result<Floor> floor = CompileFor(abi, text);
    ASSERT_TRUE(floor) << abi << ": " << floor.error().message;
    EXPECT_EQ(floor->landlock, Enforcement::kFull);
    EXPECT_THAT(floor->degraded, IsEmpty());
    // No right is handled only because the kernel has it.
    EXPECT_EQ(floor->plan.layers.at(0).handled_fs, policy::kHandledByDefault);
  }
}

TEST(Abi, MinAbiTakesNewerRightsWhereTheyAre) {
  const std::string text = WithCompatibility(R"({"landlock": "required", "minAbi": 4})");
  const Result<Floor> old = CompileFor(3, text);
  ASSERT_FALSE(old);
  EXPECT_THAT(old.error().message, HasSubstr("needs Landlock ABI 4, found 3"));
  const Result<Floor> four = CompileFor(4, text);
  ASSERT_TRUE(four) << four.error().message;
  EXPECT_EQ(four->landlock, Enforcement::kPartial);
  std::vector<std::string> lost;
  for (const Degradation& one : four->degraded) lost.push_back(one.right);
  EXPECT_THAT(lost, ElementsAre("fs.ioctl_dev", "scope.signal"));
  EXPECT_EQ(four->degraded.at(0).needed_abi, 5);
  EXPECT_EQ(four->degraded.at(0).found_abi, 4);
}

TEST(Abi, BestEffortReportsEveryLoss) {
  const std::string text = WithCompatibility(R"({"landlock": "best-effort"})");
  const Result<Floor> none = CompileFor(0, text);
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_EQ(none->landlock, Enforcement::kNone);
  EXPECT_THAT(none->plan.layers, IsEmpty());
  EXPECT_EQ(none->degraded.size(), 19U);  // 16 rights, connect_tcp, bind_tcp, the scope
  const Result<Floor> three = CompileFor(3, text);
  ASSERT_TRUE(three);
  EXPECT_EQ(three->landlock, Enforcement::kPartial);
  EXPECT_EQ(three->plan.layers.at(0).handled_net, 0U);
  EXPECT_EQ(three->plan.layers.at(0).handled_fs & policy::kIoctl, 0U);
  EXPECT_EQ(three->plan.layers.at(0).paths.at(0).rights & ~policy::FsRightsOfAbi(3), 0U);
}

TEST(Abi, DefaultScopesAreBestEffort) {
  Result<std::vector<policy::Policy>> policies = TestRoot::Decode({R"({"landgate": 1})"});
  ASSERT_TRUE(policies);
  CompileInput input;
  input.policies = *policies;
  input.own_network_namespace = false;
  input.own_pid_namespace = false;
  const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  input.landlock_abi = 5;
  Result<Floor> five = Compile(input, root);
  ASSERT_TRUE(five) << five.error().message;
  EXPECT_EQ(five->plan.layers.at(0).scoped, 0U);
  EXPECT_EQ(five->degraded.size(), 2U);
  input.landlock_abi = 6;
  Result<Floor> six = Compile(input, root);
  ASSERT_TRUE(six);
  EXPECT_EQ(six->plan.layers.at(0).scoped, abi::kScopeAbstractUnix | abi::kScopeSignal);
}

TEST(Abi, ResolveUnixIsHandledOnlyByName) {
  const Result<Floor> all = CompileFor(9, Paths(R"({"allow": ["all"], "beneath": ["/"]})"));
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->plan.layers.at(0).handled_fs & policy::kUnix, 0U);
  const std::string named = Paths(R"({"allow": ["read", "unix"], "beneath": ["/"]})");
  const Result<Floor> nine = CompileFor(9, named);
  ASSERT_TRUE(nine) << nine.error().message;
  EXPECT_EQ(nine->plan.layers.at(0).handled_fs & policy::kUnix, policy::kUnix);
  EXPECT_FALSE(CompileFor(7, named));
}

// --- static
// ------------------------------------------------------------------------------------------

Result<StaticFloor> StaticOf(const std::vector<std::string>& texts) {
  Result<std::vector<policy::Policy>> policies = TestRoot::Decode(texts);
  if (!policies) return Forward(policies);
  return CompileStatic(*policies);
}

TEST(CompileStatic, KernelTreesGoToTheRuntime) {
  const Result<StaticFloor> floor = StaticOf({Paths(R"({"allow": ["read"], "beneath": ["/"]},
                         {"deny": ["all"], "file": ["/proc/kcore", "/proc/kallsyms"]},
                         {"deny": ["modify"], "beneath": ["/proc/sys", "/sys"]},
                         {"deny": ["all"], "beneath": ["/workspace"]})"),
                                              Paths(R"({"allow": ["read"], "beneath": ["/"]},
                         {"deny": ["all"], "file": ["/proc/kcore"]})")});
  ASSERT_TRUE(floor) << floor.error().message;
  EXPECT_THAT(floor->masked_paths, ElementsAre("/proc/kallsyms", "/proc/kcore"));
  EXPECT_THAT(floor->readonly_paths, ElementsAre("/proc/sys", "/sys"));
}

TEST(CompileStatic, RefusesWhatMaskingCantHold) {
  for (
      const char* rules :
      {R"({"deny": ["execute"], "beneath": ["/sys"]})",
       R"({"deny": ["all"], "glob": ["/proc/*/environ"]})",
       R"({"deny": ["all"], "beneath": ["/proc"]})",
       R"({"deny": ["all"], "beneath": ["/sys"]}, {"allow": ["read"], "beneath": ["/sys/class"]})"}) {
    EXPECT_FALSE(
        StaticOf({Paths(std::string(R"({"allow": ["read"], "beneath": ["/"]}, )") + rules)}))
        << rules;
  }
}

TEST(CompileStatic, KeptCapabilitiesIntersect) {
  const Result<StaticFloor> floor =
      StaticOf({R"({"landgate": 1, "capabilities": {"keep": ["CAP_CHOWN", "CAP_KILL"]}})",
                R"({"landgate": 1, "capabilities": {"keep": ["CAP_KILL", "CAP_SYS_ADMIN"]}})",
                R"({"landgate": 1})"});
  ASSERT_TRUE(floor) << floor.error().message;
  ASSERT_TRUE(floor->keep);
  EXPECT_THAT(CapabilityNames(*floor->keep), ElementsAre("CAP_KILL"));
  const Result<StaticFloor> all = StaticOf({R"({"landgate": 1})"});
  ASSERT_TRUE(all);
  EXPECT_FALSE(all->keep);
}

// --- the report and the cost
// ---------------------------------------------------------------------------

TEST(FloorReport, SaysWhichMeansHoldsEachRule) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              MakeTree(root);
              Result<Floor> floor =
                  root.CompileTexts({Paths(R"({"allow": ["read", "modify"], "beneath": ["/w"]},
                            {"deny": ["all"], "beneath": ["/w/dir"]},
                            {"deny": ["all"], "file": ["/etc/passwd"]},
                            {"deny": ["modify"], "file": ["/w/file"]})")});
              if (!floor) return report.Fail(floor.error().message);
              const Result<policy::Json> json =
                  policy::ParseJson(FloorJson(*floor), "floor", policy::Comments::kRefused);
              if (!json) return report.Fail(json.error().message);
              const policy::Json& rules = (*json)["rules"];
              const char* const means[] = {"landlock", "mask", "nothing-granted", "read-only"};
              const char* const holds[] = {"always", "at-start", "always", "at-start"};
              report.Is("rules", 4, static_cast<int>(rules.size()));
              for (size_t i = 0; i < 4; ++i) {
                report.True("means " + std::to_string(i), rules[i]["means"] == means[i]);
                report.True("holds " + std::to_string(i), rules[i]["holds"] == holds[i]);
              }
              report.True("full", (*json)["landlock"] == "full");
              report.True("text",
                          FloorText(*floor).find("mask-directory  /w/dir") != std::string::npos);
            }));
}

TEST(Cost, AFloorOfTwentyRules) {
  SKIP_UNLESS_POSSIBLE();
  EXPECT_EQ("", InRoot([](TestRoot& root, Report& report) {
              std::string rules = R"({"allow": ["read", "modify", "execute"], "beneath": ["/w"]})";
              for (int i = 0; i < 16; ++i) {
                const std::string directory = "/w/d" + std::to_string(i);
                root.File(directory + "/file");
                rules += R"(, {"allow": ["read"], "beneath": [")" + directory + R"("]})";
              }
              for (const char* path : {"/w/d1/file", "/w/d2/file", "/w/d3/file"}) {
                rules += R"(, {"deny": ["all"], "file": [")" + std::string(path) + R"("]})";
              }
              const std::string text = Paths(rules);
              Result<std::vector<policy::Policy>> policies = TestRoot::Decode({text});
              if (!policies) return report.Fail(policies.error().message);
              CompileInput input;
              input.policies = *policies;
              input.landlock_abi = LandlockAbi();
              const auto us = [](auto span) {
                return static_cast<int>(
                    std::chrono::duration_cast<std::chrono::microseconds>(span).count());
              };
              const auto start = std::chrono::steady_clock::now();
              Result<Floor> floor = Compile(input, root.root());
              const auto compiled = std::chrono::steady_clock::now();
              if (!floor) return report.Fail(floor.error().message);
              if (Status placed = root.Place(*floor); !placed) {
                return report.Fail(placed.error().message);
              }
              const auto placed = std::chrono::steady_clock::now();
              fprintf(stderr, "20 rules, 6 mounts: compile %d µs, place %d µs\n",
                      us(compiled - start), us(placed - compiled));
              report.Is("mounts", 6, static_cast<int>(floor->mounts.size()));
              report.True("in time", us(placed - start) < 100000);
            }));
}

}  // namespace
}  // namespace landgate::sandbox
