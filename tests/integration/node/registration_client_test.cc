// The hooks' side of the agent's socket, against a server in the test.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <thread>

#include "base/syscalls.h"
#include "node/registration.h"
#include "policy/document_json.h"
#include "policy/json_reader.h"

namespace landgate::node {
namespace {

using ::testing::HasSubstr;

struct Received {
  std::string bytes;
  std::vector<UniqueFd> fds;
};

// Everything that the client sends, to its end.
Received ReadToEnd(int connection) {
  Received received;
  while (true) {
    std::array<char, 65536> bytes;
    alignas(cmsghdr) std::array<char, 512> control;
    iovec io{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &io;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    if (count <= 0) return received;
    received.bytes.append(bytes.data(), static_cast<size_t>(count));
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
      const size_t fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < fds; ++i) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
        received.fds.emplace_back(fd);
      }
    }
  }
}

class RegistrationClient : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/landgate-client-XXXXXX";
    ASSERT_TRUE(mkdtemp(pattern));
    dir_ = pattern;
    path_ = dir_ + "/agent.sock";
  }
  void TearDown() override {
    if (server_.joinable()) server_.join();
    ASSERT_EQ(system(("rm -rf " + dir_).c_str()), 0);
  }

  // `serve` has the first connection.
  void Start(std::function<void(int)> serve) {
    UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path_.c_str());
    ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listener.get(), 8), 0);
    server_ = std::thread([listener = std::move(listener), serve = std::move(serve)] {
      const UniqueFd connection(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      serve(connection.get());
    });
  }
  static void Say(int connection, std::string_view text) {
    (void)!write(connection, text.data(), text.size());
  }

  Status Register() {
    Result<UniqueFd> self = PidfdOpen(getpid());
    const UniqueFd mounts(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
    if (!self) return Forward(self);
    return RegisterWithAgent(path_, registration_, *self, mounts);
  }

  std::string dir_, path_;
  Registration registration_ = [] {
    Registration some;
    some.id = "c1";
    some.pid = 1;
    some.front_end = "inject";
    some.policies = {*policy::DecodePolicy(R"({"landgate": 1})", "p", "p.json")};
    return some;
  }();
  std::thread server_;
};

TEST_F(RegistrationClient, SendsOneObjectAndTwoDescriptorsAndTakesYes) {
  Received received;
  Start([&](int connection) {
    received = ReadToEnd(connection);  // ends: the client shuts its side down
    Say(connection, R"({"ok": true})");
  });
  const Status status = Register();
  ASSERT_TRUE(status) << status.error().message;
  server_.join();
  ASSERT_THAT(received.bytes, HasSubstr(R"({"landgate":{"register":{)"));
  const policy::Json json = policy::Json::parse(received.bytes);
  const Result<Registration> got = DecodeRegistration(json["landgate"]["register"].dump());
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->id, "c1");
  ASSERT_EQ(received.fds.size(), 2U);
  EXPECT_EQ(fcntl(received.fds[0].get(), F_GETFD), FD_CLOEXEC);
  struct stat mine, theirs;
  ASSERT_EQ(stat("/proc/self/ns/mnt", &mine), 0);
  ASSERT_EQ(fstat(received.fds[1].get(), &theirs), 0);
  EXPECT_EQ(mine.st_ino, theirs.st_ino);
}

TEST_F(RegistrationClient, AnObjectLargerThanTheSocketsBufferArrivesWhole) {
  registration_.floor_json.assign(3 << 20, 'x');
  size_t size = 0, fds = 0;
  Start([&](int connection) {
    const Received received = ReadToEnd(connection);
    size = received.bytes.size();
    fds = received.fds.size();
    Say(connection, R"({"ok": true})");
  });
  const Status status = Register();
  ASSERT_TRUE(status) << status.error().message;
  server_.join();
  EXPECT_GT(size, size_t{3} << 20);
  EXPECT_EQ(fds, 2U);
}

TEST_F(RegistrationClient, NoIsARefusalWithItsReason) {
  Start([](int connection) {
    (void)ReadToEnd(connection);
    Say(connection, R"({"error": "the disk is full"})");
  });
  const Status status = Register();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "the agent refuses: the disk is full");
  EXPECT_EQ(status.error().status, ExitStatus::kRefused);
}

// As an agent does that will not read 8 MiB to say no.
TEST_F(RegistrationClient, NoBeforeEverythingWasReadIsHeard) {
  registration_.floor_json.assign(4 << 20, 'x');
  Start([](int connection) {
    char first;
    (void)!read(connection, &first, 1);
    Say(connection, R"({"error": "too long"})");
    (void)shutdown(connection, SHUT_WR);
    (void)shutdown(connection, SHUT_RD);
  });
  const Status status = Register();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("too long"));
}

TEST_F(RegistrationClient, AnAgentThatDiesOrBabblesIsNoYes) {
  for (const char* answer : {"", "{", "{}", R"({"ok": false})", R"({"ok": true, "more": 1})",
                             "null", R"({"ok": true}{"ok": true})"}) {
    (void)unlink(path_.c_str());
    Start([answer](int connection) {
      (void)ReadToEnd(connection);
      Say(connection, answer);
    });
    EXPECT_FALSE(Register()) << answer;
    server_.join();
  }
}

TEST_F(RegistrationClient, AnAgentThatNeverAnswersIsWaitedForOnlySoLong) {
  UniqueFd release[2];
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  release[0].Reset(ends[0]);
  release[1].Reset(ends[1]);
  Start([&](int connection) {
    (void)ReadToEnd(connection);
    char byte;
    (void)!read(release[0].get(), &byte, 1);
  });
  const auto begin = std::chrono::steady_clock::now();
  const Status status = UnregisterFromAgent(path_, "c1", std::chrono::milliseconds(50));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().status, ExitStatus::kImpossible);
  release[1].Reset();
}

TEST_F(RegistrationClient, NoAgentIsSaidAsSuch) {
  EXPECT_FALSE(AgentAnswers(path_));
  Status status = Register();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().status, ExitStatus::kImpossible);
  EXPECT_THAT(status.error().message, HasSubstr(path_));
  // A socket that nobody listens on any more.
  {
    UniqueFd left(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path_.c_str());
    ASSERT_EQ(bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_FALSE(AgentAnswers(path_));
  EXPECT_TRUE(UnregisterFromAgent(path_, "c1"));
  EXPECT_FALSE(AgentAnswers(std::string(200, 'x')));
}

TEST_F(RegistrationClient, AskingWhetherItAnswersSaysNothing) {
  size_t bytes = 1;
  Start([&](int connection) { bytes = ReadToEnd(connection).bytes.size(); });
  EXPECT_TRUE(AgentAnswers(path_));
  server_.join();
  EXPECT_EQ(bytes, 0U);
}

TEST_F(RegistrationClient, SomebodyElsesSocketIsNoAgent) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to be somebody else";
  ASSERT_EQ(chmod(dir_.c_str(), 0777), 0);
  int ready[2], done[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (setuid(12345) != 0) _exit(1);
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path_.c_str());
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) _exit(1);
    if (listen(listener, 8) != 0) _exit(1);
    char byte = 'r';
    (void)!write(ready[1], &byte, 1);
    (void)!read(done[0], &byte, 1);
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_FALSE(AgentAnswers(path_));
  ASSERT_EQ(write(done[1], &byte, 1), 1);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_F(RegistrationClient, UnregisterNamesTheContainer) {
  std::string bytes;
  Start([&](int connection) {
    bytes = ReadToEnd(connection).bytes;
    Say(connection, R"({"ok": true})");
  });
  EXPECT_TRUE(UnregisterFromAgent(path_, "c1"));
  server_.join();
  EXPECT_EQ(bytes, R"({"landgate":{"unregister":{"id":"c1"}}})");
}

}  // namespace
}  // namespace landgate::node
