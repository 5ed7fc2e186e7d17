#include "hook/exec_refusal.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.h"

namespace landgate::hook {
namespace {

using std::chrono::milliseconds;

class ExecRefusalTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/landgate-exec-XXXXXX";
    ASSERT_TRUE(mkdtemp(pattern));
    dir_ = pattern;
    path_ = dir_ + "/s.sock";
  }
  void TearDown() override {
    unlink(path_.c_str());
    EXPECT_EQ(rmdir(dir_.c_str()), 0);
  }

  // errno, or 0 and the connection in `fd`.
  int Connect(UniqueFd& fd) {
    fd.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path_.c_str());
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return 0;
    return errno;
  }

  static bool SendFd(const UniqueFd& to, int fd) {
    char byte = '{';
    iovec io{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
    msghdr message{};
    message.msg_iov = &io;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(to.get(), &message, MSG_NOSIGNAL) == 1;
  }

  // The daemon's end is closed: it has ended, or at least done with the connection.
  static bool WaitForEnd(const UniqueFd& connection) {
    pollfd waiting{connection.get(), POLLIN, 0};
    if (poll(&waiting, 1, 10000) != 1) return false;
    char byte;
    return read(connection.get(), &byte, 1) == 0;
  }

  std::string dir_;
  std::string path_;
};

TEST_F(ExecRefusalTest, ServesOneConnectionToItsEndAndThenNobody) {
  ASSERT_TRUE(StartExecRefusal(path_, milliseconds(10000)));
  struct stat st;
  ASSERT_EQ(stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);

  UniqueFd connection;
  ASSERT_EQ(Connect(connection), 0);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ASSERT_TRUE(SendFd(connection, writer.get()));
  writer.Reset();
  // What was handed over is closed while the connection still stands.
  pollfd waiting{reader.get(), POLLIN, 0};
  ASSERT_EQ(poll(&waiting, 1, 10000), 1);
  EXPECT_TRUE(waiting.revents & POLLHUP);
  // Far more than any buffer: the sender is never left waiting.
  const std::string state(4 << 20, 'x');
  for (size_t sent = 0; sent < state.size();) {
    const ssize_t count =
        send(connection.get(), state.data() + sent, state.size() - sent, MSG_NOSIGNAL);
    ASSERT_GT(count, 0);
    sent += static_cast<size_t>(count);
  }
  UniqueFd second;
  EXPECT_NE(Connect(second), 0) << "the descriptor came back closed, so the socket was gone before";
  ASSERT_EQ(shutdown(connection.get(), SHUT_WR), 0);
  EXPECT_TRUE(WaitForEnd(connection));
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
}

TEST_F(ExecRefusalTest, GivesUpAndTakesTheSocketAway) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ASSERT_TRUE(StartExecRefusal(path_, milliseconds(300)));
  // Nothing of the caller's is left open in it: the pipe ends here and not with the daemon.
  writer.Reset();
  pollfd waiting{reader.get(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 200), 1);
  EXPECT_EQ(access(path_.c_str(), F_OK), 0) << "the daemon is still there";
  for (int i = 0; i < 1000 && access(path_.c_str(), F_OK) == 0; ++i) (void)poll(nullptr, 0, 10);
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
}

TEST_F(ExecRefusalTest, ReplacesAStaleSocket) {
  {
    UniqueFd stale(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path_.c_str());
    ASSERT_EQ(bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  UniqueFd connection;
  EXPECT_EQ(Connect(connection), ECONNREFUSED);
  ASSERT_TRUE(StartExecRefusal(path_, milliseconds(10000)));
  EXPECT_EQ(Connect(connection), 0);
  ASSERT_EQ(shutdown(connection.get(), SHUT_WR), 0);
  EXPECT_TRUE(WaitForEnd(connection));
}

TEST_F(ExecRefusalTest, AnOlderDaemonLeavesTheSocketOfTheNextAttempt) {
  ASSERT_TRUE(StartExecRefusal(path_, milliseconds(100)));
  const std::string first = dir_ + "/first";
  ASSERT_EQ(link(path_.c_str(), first.c_str()), 0);  // its own name for the first socket
  ASSERT_TRUE(StartExecRefusal(path_, milliseconds(10000)));
  // The first daemon ends with its connection, and then nobody listens on its socket any more.
  const std::string next = std::exchange(path_, first);
  UniqueFd connection;
  for (int i = 0; i < 1000 && Connect(connection) == 0; ++i) (void)poll(nullptr, 0, 10);
  EXPECT_EQ(Connect(connection), ECONNREFUSED);
  unlink(first.c_str());
  path_ = next;
  EXPECT_EQ(Connect(connection), 0);
  ASSERT_EQ(shutdown(connection.get(), SHUT_WR), 0);
  EXPECT_TRUE(WaitForEnd(connection));
}

TEST_F(ExecRefusalTest, SaysWhenThePathDoesNotFitASocket) {
  const Status started = StartExecRefusal(dir_ + "/" + std::string(120, 'x'), milliseconds(1));
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("runDir"), std::string::npos);
}

}  // namespace
}  // namespace landgate::hook
