// Who may talk to the control socket, and what may lie where it is to be.
#include "agent/control/control_socket.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "tests/integration/agent/control_client.h"

namespace landgate::agent {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ControlSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "socket-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    ASSERT_EQ(chmod(directory_.c_str(), 0755), 0);
    path_ = directory_ + "/control.sock";
  }
  void TearDown() override { fs::remove_all(directory_); }

  struct stat Stat() {
    struct stat st = {};
    EXPECT_EQ(lstat(path_.c_str(), &st), 0);
    return st;
  }
  // errno of connecting as that user, 0 for success.
  int ConnectAs(uid_t uid, gid_t gid) {
    const pid_t child = fork();
    if (child == 0) {
      if (setgroups(0, nullptr) < 0 || setgid(gid) < 0 || setuid(uid) < 0) _exit(255);
      const ControlClient client(path_);
      _exit(client.error_number());
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
  }

  std::string directory_, path_;
};

TEST_F(ControlSocketTest, OnlyItsOwnerConnects) {
  const mode_t before = umask(0);
  const auto socket = ListenOnControlSocket(path_, "no-such-group");
  umask(before);
  ASSERT_TRUE(socket) << socket.error().message;
  EXPECT_EQ(Stat().st_mode, S_IFSOCK | 0600u);
  EXPECT_TRUE(ControlClient(path_).connected());
  EXPECT_FALSE(fs::exists(path_ + ".new"));
  if (geteuid() != 0) GTEST_SKIP() << "needs root to be another user";
  EXPECT_EQ(ConnectAs(0, 0), 0);
  EXPECT_EQ(ConnectAs(65534, 65534), EACCES);
}

TEST_F(ControlSocketTest, MembersOfTheGroupConnectToo) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  if (unshare(CLONE_NEWNS) < 0) GTEST_SKIP() << "no mount namespace: " << strerror(errno);
  ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  std::ofstream(directory_ + "/group") << "root:x:0:\nlandgate-test:x:54321:\n";
  ASSERT_EQ(mount((directory_ + "/group").c_str(), "/etc/group", nullptr, MS_BIND, nullptr), 0);
  const auto socket = ListenOnControlSocket(path_, "landgate-test");
  ASSERT_TRUE(socket) << socket.error().message;
  EXPECT_EQ(Stat().st_mode, S_IFSOCK | 0660u);
  EXPECT_EQ(Stat().st_gid, 54321u);
  EXPECT_EQ(ConnectAs(65534, 54321), 0);
  EXPECT_EQ(ConnectAs(65534, 65534), EACCES);
  EXPECT_EQ(umount2("/etc/group", MNT_DETACH), 0);
}

TEST_F(ControlSocketTest, AStaleSocketIsReplaced) {
  for (int i = 0; i < 3; ++i) {
    auto socket = ListenOnControlSocket(path_);
    ASSERT_TRUE(socket) << socket.error().message;
    EXPECT_TRUE(ControlClient(path_).connected());
  }
  EXPECT_EQ(ControlClient(path_).error_number(), ECONNREFUSED);
}

TEST_F(ControlSocketTest, ALiveOneIsNot) {
  const auto first = ListenOnControlSocket(path_);
  ASSERT_TRUE(first);
  const ino_t inode = Stat().st_ino;
  const auto second = ListenOnControlSocket(path_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("another agent"));
  EXPECT_EQ(Stat().st_ino, inode);
  RemoveControlSocket(path_);
  EXPECT_TRUE(fs::exists(path_));
}

TEST_F(ControlSocketTest, WhatIsNoSocketStays) {
  std::ofstream(path_) << "keep";
  EXPECT_FALSE(ListenOnControlSocket(path_));
  RemoveControlSocket(path_);
  EXPECT_TRUE(fs::is_regular_file(path_));
  fs::remove(path_);
  fs::create_symlink(directory_ + "/elsewhere", path_);
  EXPECT_FALSE(ListenOnControlSocket(path_));
  RemoveControlSocket(path_);
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_FALSE(fs::exists(directory_ + "/elsewhere"));
}

TEST_F(ControlSocketTest, ACleanStopRemovesIt) {
  { ASSERT_TRUE(ListenOnControlSocket(path_)); }
  EXPECT_TRUE(fs::exists(path_));
  RemoveControlSocket(path_);
  EXPECT_FALSE(fs::exists(path_));
  RemoveControlSocket(path_);
}

TEST_F(ControlSocketTest, APathThatIsTooLong) {
  const auto socket = ListenOnControlSocket(directory_ + "/" + std::string(120, 'x'));
  ASSERT_FALSE(socket);
  EXPECT_THAT(socket.error().message, HasSubstr("at most 107 bytes"));
}

TEST(TcpAddressTest, AddressesAndWhatIsNone) {
  for (const char* address : {"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"}) {
    const auto socket = ListenOnTcp(address);
    EXPECT_TRUE(socket || socket.error().error_number == EADDRNOTAVAIL ||
                socket.error().error_number == EAFNOSUPPORT)
        << address << ": " << socket.error().message;
  }
  for (const char* address : {"", "127.0.0.1", ":9464", "127.0.0.1:", "localhost:9464", "::1:9464",
                              "[::1]", "127.0.0.1:99999", "127.0.0.1:http", "[127.0.0.1]:1"}) {
    const auto socket = ListenOnTcp(address);
    ASSERT_FALSE(socket) << address;
    EXPECT_THAT(socket.error().message, HasSubstr("metrics.listen")) << address;
  }
}

}  // namespace
}  // namespace landgate::agent
