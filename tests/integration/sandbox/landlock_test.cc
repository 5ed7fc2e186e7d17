#include "sandbox/landlock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/linux_abi.h"
#include "base/syscalls.h"
#include "sandbox/filter.h"
#include "tests/integration/sandbox/in_child.h"

namespace landgate::sandbox {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kRead = abi::kFsReadFile | abi::kFsReadDir;
constexpr uint64_t kAllOfAbi1 = (1ULL << 13) - 1;

int TryOpen(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0644);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

class LandlockTest : public testing::Test {
 protected:
  void SetUp() override {
    if (LandlockAbi() < 1) GTEST_SKIP() << "this kernel has no Landlock";
    char pattern[] = "/tmp/landgate-landlock-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    dir_ = std::filesystem::canonical(pattern);
    chmod(dir_.c_str(), 0755);
    std::filesystem::create_directory(dir_ + "/in");
    std::filesystem::create_directory(dir_ + "/out");
    for (const char* name : {"/in/file", "/out/file", "/single"}) {
      std::ofstream(dir_ + name) << "text";
    }
    std::filesystem::create_symlink("in", dir_ + "/link");
    std::filesystem::create_symlink("in/file", dir_ + "/in/leaf");
  }
  void TearDown() override {
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  std::string At(const std::string& name) const { return dir_ + name; }
  ObjectId Object(const std::string& name) const {
    struct statx stx {};
    EXPECT_EQ(statx(AT_FDCWD, At(name).c_str(), 0, STATX_INO, &stx), 0);
    return {stx.stx_dev_major, stx.stx_dev_minor, stx.stx_ino};
  }
  static PlannedLayer Layer(std::vector<PlannedPath> paths, uint64_t handled = kAllOfAbi1) {
    PlannedLayer layer;
    layer.name = "test";
    layer.handled_fs = handled;
    layer.paths = std::move(paths);
    return layer;
  }
  static Result<UniqueFd> Build(const PlannedLayer& layer, Session session = Session::kStart,
                                std::vector<std::string>* skipped = nullptr) {
    const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    return BuildLayer(layer, root, session, skipped);
  }
  // "" or why the calling process is not restricted.
  static std::string Restrict(const PlannedLayer& layer, Session session = Session::kStart) {
    Result<UniqueFd> built = Build(layer, session);
    if (!built) return built.error().message;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return "no_new_privs";
    const Status bound = RestrictSelf(*built);
    return bound ? "" : bound.error().message;
  }
  static std::string Why(const PlannedLayer& layer, Session session = Session::kStart) {
    const Result<UniqueFd> built = Build(layer, session);
    return built ? "built" : built.error().message;
  }

  std::string dir_;
};

TEST_F(LandlockTest, WhatARuleGrantsIsAllowedAndNothingElse) {
  const PlannedLayer layer = Layer({{At("/in"), kRead, true, Object("/in")},
                                    {At("/single"), abi::kFsWriteFile, true, std::nullopt}});
  EXPECT_EQ(InChild([&]() -> std::string {
              if (TryOpen(At("/out/file"), O_RDONLY) != 0) return "setup";
              if (std::string failed = Restrict(layer); !failed.empty()) return failed;
              return std::to_string(TryOpen(At("/in/file"), O_RDONLY)) + " " +
                     std::to_string(TryOpen(At("/in"), O_RDONLY | O_DIRECTORY)) + " " +
                     std::to_string(TryOpen(At("/single"), O_WRONLY)) + " | " +
                     std::to_string(TryOpen(At("/in/file"), O_WRONLY)) + " " +
                     std::to_string(TryOpen(At("/out/file"), O_RDONLY)) + " " +
                     std::to_string(TryOpen(At("/single"), O_RDONLY)) + " " +
                     std::to_string(TryOpen(At("/in/new"), O_WRONLY | O_CREAT));
            }),
            "0 0 0 | 13 13 13 13");
}

TEST_F(LandlockTest, LayersOnlyTakeAway) {
  EXPECT_EQ(
      InChild([&]() -> std::string {
        if (std::string failed = Restrict(Layer({{dir_, kRead, true, {}}})); !failed.empty()) {
          return failed;
        }
        const PlannedLayer second = Layer({{At("/in"), kRead | abi::kFsWriteFile, true, {}}});
        if (std::string failed = Restrict(second); !failed.empty()) return failed;
        return std::to_string(TryOpen(At("/in/file"), O_RDONLY)) + " " +
               std::to_string(TryOpen(At("/in/file"), O_WRONLY)) + " " +
               std::to_string(TryOpen(At("/out/file"), O_RDONLY));
      }),
      "0 13 13");
}

TEST_F(LandlockTest, RightsThatAFileCannotCarryAreMaskedOff) {
  const PlannedLayer layer = Layer({{At("/single"), kAllOfAbi1, true, {}}});
  EXPECT_EQ(InChild([&]() -> std::string {
              if (std::string failed = Restrict(layer); !failed.empty()) return failed;
              return std::to_string(TryOpen(At("/single"), O_RDWR));
            }),
            "0");
}

TEST_F(LandlockTest, RightsThatAreNotHandledAreMaskedOff) {
  const PlannedLayer layer = Layer({{At("/in"), kAllOfAbi1, true, {}}}, abi::kFsWriteFile);
  EXPECT_EQ(InChild([&]() -> std::string {
              if (std::string failed = Restrict(layer); !failed.empty()) return failed;
              return std::to_string(TryOpen(At("/out/file"), O_RDONLY)) + " " +
                     std::to_string(TryOpen(At("/in/file"), O_WRONLY)) + " " +
                     std::to_string(TryOpen(At("/out/file"), O_WRONLY));
            }),
            "0 0 13");
}

TEST_F(LandlockTest, ARuleThatGrantsNothingIsNone) {
  EXPECT_EQ(Why(Layer({{At("/single"), abi::kFsReadDir, true, {}}, {At("/in"), 0, true, {}}})),
            "built");
}

TEST_F(LandlockTest, FifosAndDevicesDoNotBlock) {
  ASSERT_EQ(mkfifo(At("/in/fifo").c_str(), 0600), 0);
  const PlannedLayer layer = Layer(
      {{At("/in/fifo"), abi::kFsReadFile, true, {}}, {"/dev/null", abi::kFsWriteFile, true, {}}});
  EXPECT_EQ(InChild([&]() -> std::string {
              if (std::string failed = Restrict(layer); !failed.empty()) return failed;
              return std::to_string(TryOpen(At("/in/fifo"), O_RDONLY)) + " " +
                     std::to_string(TryOpen("/dev/null", O_WRONLY)) + " " +
                     std::to_string(TryOpen("/dev/null", O_RDONLY));
            }),
            "0 0 13");
}

TEST_F(LandlockTest, AnotherObjectIsRefusedAtStartOnly) {
  const PlannedLayer layer = Layer({{At("/in"), kRead, false, Object("/out")}});
  EXPECT_THAT(Why(layer), HasSubstr("policy test: " + At("/in") + ": another object"));
  EXPECT_EQ(Why(layer, Session::kExec), "built");
}

TEST_F(LandlockTest, AMissingPathIsRefusedAtStartAndSkippedInExecSessions) {
  const PlannedLayer layer =
      Layer({{At("/none"), kRead, false, {}}, {At("/in"), kRead, false, {}}});
  EXPECT_THAT(Why(layer), HasSubstr(At("/none") + ": No such file"));
  std::vector<std::string> skipped;
  EXPECT_TRUE(Build(layer, Session::kExec, &skipped));
  EXPECT_THAT(skipped, ElementsAre(At("/none")));
  const PlannedLayer required = Layer({{At("/none"), kRead, true, {}}});
  EXPECT_THAT(Why(required, Session::kExec), HasSubstr("No such file"));
}

TEST_F(LandlockTest, NoSymlinkIsEverFollowed) {
  for (const char* name : {"/link", "/link/file", "/in/leaf"}) {
    const PlannedLayer layer = Layer({{At(name), kRead, false, {}}});
    EXPECT_THAT(Why(layer), HasSubstr("symbolic links")) << name;
    std::vector<std::string> skipped;
    EXPECT_TRUE(Build(layer, Session::kExec, &skipped));
    EXPECT_THAT(skipped, ElementsAre(At(name)));
  }
  // Magic links are no way either.
  EXPECT_THAT(Why(Layer({{"/proc/self/root/tmp", kRead, true, {}}})), HasSubstr("symbolic links"));
}

TEST_F(LandlockTest, WithoutOpenat2PathsAreWalkedAndMeanTheSame) {
  for (const int error : {ENOSYS, EPERM}) {
    EXPECT_EQ(
        InChild([&]() -> std::string {
          FilterRequest request;
          request.deny_mount_api = false;
          request.closed_again = {"openat2"};
          request.closed_errno = error;
          const Result<Filter> filter = BuildFilter(request);
          if (!filter) return filter.error().message;
          if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return "no_new_privs";
          if (const Status loaded = LoadFilter(filter->program); !loaded) return "filter";
          for (const char* name : {"/link", "/link/file", "/in/leaf"}) {
            const PlannedLayer layer = Layer({{At(name), kRead, false, {}}});
            std::vector<std::string> skipped;
            if (Build(layer) || !Build(layer, Session::kExec, &skipped) || skipped.size() != 1) {
              return name;
            }
          }
          if (Build(Layer({{"/proc/self/root/tmp", kRead, true, {}}}))) return "magic link";
          if (Build(Layer({{At("/in"), kRead, true, Object("/out")}}))) return "object";
          if (!Build(Layer({{"/", kRead, true, {}}}))) return "/";
          const PlannedLayer layer = Layer({{At("/in"), kRead, true, Object("/in")}});
          if (std::string failed = Restrict(layer); !failed.empty()) return failed;
          return std::to_string(TryOpen(At("/in/file"), O_RDONLY)) + " " +
                 std::to_string(TryOpen(At("/out/file"), O_RDONLY));
        }),
        "0 13");
  }
}

TEST_F(LandlockTest, APathOutOfReachIsSkippedUnlessItIsRequired) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  ASSERT_EQ(chmod(At("/out").c_str(), 0700), 0);
  const auto as_user = [&](bool required) {
    return InChild([&, required]() -> std::string {
      if (setgroups(0, nullptr) < 0 || setgid(65534) < 0 || setuid(65534) < 0) return "setup";
      std::vector<std::string> skipped;
      const Result<UniqueFd> built =
          Build(Layer({{At("/out/file"), kRead, required, {}}}), Session::kStart, &skipped);
      if (!built) return built.error().message;
      return skipped.size() == 1 ? "skipped " + skipped[0] : "not skipped";
    });
  };
  EXPECT_EQ(as_user(false), "skipped " + At("/out/file"));
  EXPECT_THAT(as_user(true), HasSubstr(At("/out/file") + ": Permission denied"));
}

TEST_F(LandlockTest, ALayerThatHandlesNothingIsAnError) {
  EXPECT_THAT(Why(Layer({}, 0)), HasSubstr("landlock_create_ruleset"));
}

TEST_F(LandlockTest, WithoutNoNewPrivsAnOrdinaryUserIsNotRestricted) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  EXPECT_THAT(InChild([&]() -> std::string {
                if (setgid(65534) < 0 || setuid(65534) < 0) return "setup";
                Result<UniqueFd> built = Build(Layer({{At("/in"), kRead, true, {}}}));
                if (!built) return built.error().message;
                const Status bound = RestrictSelf(*built);
                return bound ? "restricted" : bound.error().message;
              }),
              HasSubstr("landlock_restrict_self: Operation not permitted"));
}

TEST_F(LandlockTest, PortsAreAllowedOneByOne) {
  if (LandlockAbi() < 4) GTEST_SKIP() << "TCP rules need Landlock ABI 4, this kernel has less";
  PlannedLayer layer = Layer({}, 0);
  layer.handled_net = abi::kNetConnectTcp | abi::kNetBindTcp;
  layer.ports = {{1, abi::kNetConnectTcp}, {3, 0}};
  EXPECT_EQ(InChild([&]() -> std::string {
              if (std::string failed = Restrict(layer); !failed.empty()) return failed;
              std::string errors;
              for (const uint16_t port : {uint16_t{1}, uint16_t{2}, uint16_t{3}}) {
                const int fd = socket(AF_INET, SOCK_STREAM, 0);
                sockaddr_in address{};
                address.sin_family = AF_INET;
                address.sin_port = htons(port);
                address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                const int result =
                    connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
                errors += result < 0 && errno == EACCES ? "denied " : "reached ";
                close(fd);
              }
              return errors;
            }),
            "reached denied denied ");
}

TEST_F(LandlockTest, ScopesHoldSignalsInside) {
  if (LandlockAbi() < 6) GTEST_SKIP() << "scopes need Landlock ABI 6, this kernel has less";
  PlannedLayer layer = Layer({}, 0);
  layer.scoped = abi::kScopeSignal;
  const pid_t outside = getpid();
  EXPECT_EQ(InChild([&]() -> std::string {
              if (kill(outside, 0) < 0) return "setup";
              if (std::string failed = Restrict(layer); !failed.empty()) return failed;
              const int denied = kill(outside, 0) < 0 ? errno : 0;
              return std::to_string(denied) + " " + std::to_string(kill(getpid(), 0));
            }),
            "1 0");
}

}  // namespace
}  // namespace landgate::sandbox
