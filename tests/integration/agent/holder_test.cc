// The holder as a process of its own: servers are killed, holders are killed, and nothing that was
// given is lost.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>

#include "agent/holder/fd_message.h"
#include "agent/holder/holder_client.h"
#include "agent/holder/holder_loop.h"
#include "agent/holder/holder_message.h"
#include "agent/holder/holder_peer.h"
#include "base/files.h"
#include "base/syscalls.h"
#include "tests/agent_support/agent_program.h"
#include "tests/agent_support/child.h"

namespace landgate::agent {
namespace {

using test::Child;
using test::kThisProgram;
using testing::AllOf;
using testing::HasSubstr;

UniqueFd Memfd(const std::string& content) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC));
  if (!WriteAll(fd, content)) abort();
  return fd;
}

std::string ContentOf(BorrowedFd fd) {
  std::string content(256, '\0');
  const ssize_t count = pread(fd.get(), content.data(), content.size(), 0);
  content.resize(count < 0 ? 0 : static_cast<size_t>(count));
  return content;
}

UniqueFd Listen(const std::string& path, int type) {
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  (void)unlink(path.c_str());
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
      listen(fd.get(), 4096) < 0) {
    abort();
  }
  return fd;
}

UniqueFd ConnectTo(const std::string& path, int type) {
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return {};
  return fd;
}

class HolderTest : public testing::Test {
 protected:
  HolderTest() {
    char name[] = "/tmp/landgate-holder-XXXXXX";
    directory_ = mkdtemp(name);
    socket_ = directory_ + "/holder.sock";
  }
  ~HolderTest() override {
    KillHolder();
    std::filesystem::remove_all(directory_);
  }

  // The process that listens at the socket; none: 0.
  pid_t HolderPid() const {
    const UniqueFd fd = ConnectTo(socket_, SOCK_SEQPACKET);
    if (!fd.valid()) return 0;
    const Result<HolderPeer> peer = IdentifyPeer(fd);
    return peer ? peer->pid : 0;
  }
  void KillHolder(int signal = SIGKILL) const {
    const pid_t pid = HolderPid();
    if (pid == 0) return;
    const Result<UniqueFd> process = PidfdOpen(pid);
    (void)kill(pid, signal);
    if (signal == SIGKILL) WaitForEnd(*process);
  }
  static void WaitForEnd(BorrowedFd process) {
    pollfd look{process.get(), POLLIN, 0};
    EXPECT_EQ(poll(&look, 1, 30'000), 1);
  }

  Result<std::unique_ptr<Holder>> Connect(std::vector<KeptObject>* predecessor,
                                          std::function<void(KeptObject)> connection = {}) const {
    return Holder::Connect(socket_, kThisProgram, predecessor, std::move(connection));
  }

  // A serving process that keeps objects 1 … count of some kinds, says so, and waits to be killed.
  Child ServerThatKeeps(int count) const {
    Child child = Child::Start([this, count](const Child::Mouth& mouth) {
      std::vector<KeptObject> predecessor;
      auto holder = Connect(&predecessor);
      if (!holder) {
        mouth.Say(holder.error().message);
        return 1;
      }
      for (int i = 1; i <= count; ++i) {
        const auto kind = static_cast<Kept>(4 + i % 3);
        if (!(*holder)->Keep(kind, static_cast<uint64_t>(i), "blob " + std::to_string(i),
                             Memfd("content " + std::to_string(i)))) {
          return 2;
        }
      }
      mouth.Say("kept");
      for (;;) pause();
      return 0;
    });
    EXPECT_EQ(child.Hear(), "kept");
    return child;
  }

  static void ExpectKept(const std::vector<KeptObject>& objects, int count) {
    ASSERT_EQ(objects.size(), static_cast<size_t>(count));
    std::map<uint64_t, const KeptObject*> by_key;
    for (const KeptObject& object : objects) by_key[object.key] = &object;
    for (int i = 1; i <= count; ++i) {
      const KeptObject* object = by_key[static_cast<uint64_t>(i)];
      ASSERT_NE(object, nullptr) << i;
      EXPECT_EQ(object->kind, static_cast<Kept>(4 + i % 3));
      EXPECT_EQ(object->blob, "blob " + std::to_string(i));
      EXPECT_EQ(ContentOf(object->fd), "content " + std::to_string(i));
      EXPECT_EQ(fcntl(object->fd.get(), F_GETFD), FD_CLOEXEC);
    }
  }

  // What a fresh serving process is handed, counted there.
  void ExpectSuccessorGets(int count) const {
    Child successor = Child::Start([this, count](const Child::Mouth&) {
      std::vector<KeptObject> predecessor;
      auto holder = Connect(&predecessor);
      if (!holder) return 1;
      ExpectKept(predecessor, count);
      return testing::Test::HasFailure() ? 2 : 0;
    });
    EXPECT_EQ(successor.Wait(), 0);
  }

  std::string directory_, socket_;
};

TEST_F(HolderTest, HandsEverythingToTheNextServer) {
  Child server = ServerThatKeeps(500);
  const pid_t holder = HolderPid();
  EXPECT_NE(getsid(holder), getsid(0)) << "it must outlive its starter's session";
  server.Kill();
  ExpectSuccessorGets(500);
  ExpectSuccessorGets(500);  // and to the one after that
  EXPECT_EQ(HolderPid(), holder);
}

TEST_F(HolderTest, WhatWasDroppedIsNotHandedOver) {
  Child server = Child::Start([this](const Child::Mouth& mouth) {
    std::vector<KeptObject> predecessor;
    auto holder = Connect(&predecessor);
    if (!holder) return 1;
    for (uint64_t i = 1; i <= 100; ++i) {
      if (!(*holder)->Keep(Kept::kListener, i, "", Memfd("x"))) return 2;
    }
    if (!(*holder)->Keep(Kept::kListener, 50, "anew", Memfd("y"))) return 3;
    for (uint64_t i = 1; i <= 100; ++i) {
      if (i != 50) (*holder)->Drop(Kept::kListener, i);
    }
    mouth.Say("dropped");
    for (;;) pause();
    return 0;
  });
  ASSERT_EQ(server.Hear(), "dropped");
  server.Kill();  // with messages on their way
  std::vector<KeptObject> predecessor;
  const auto holder = Connect(&predecessor);
  ASSERT_TRUE(holder) << holder.error().message;
  ASSERT_EQ(predecessor.size(), 1u);
  EXPECT_EQ(predecessor[0].key, 50u);
  EXPECT_EQ(predecessor[0].blob, "anew");
  EXPECT_EQ(ContentOf(predecessor[0].fd), "y");
}

TEST_F(HolderTest, AHolderThatDiesIsStartedAgainAndGivenEverything) {
  Child server = Child::Start([this](const Child::Mouth& mouth) {
    std::vector<KeptObject> predecessor;
    auto holder = Connect(&predecessor);
    if (!holder) return 1;
    for (int i = 1; i <= 300; ++i) {
      if (i % 100 == 50) {
        const pid_t pid = HolderPid();
        if (pid <= 0 || kill(pid, SIGKILL) < 0) return 2;  // in the middle
      }
      if (const Status kept =
              (*holder)->Keep(static_cast<Kept>(4 + i % 3), static_cast<uint64_t>(i),
                              "blob " + std::to_string(i), Memfd("content " + std::to_string(i)));
          !kept) {
        mouth.Say(kept.error().message);
        return 3;
      }
    }
    mouth.Say("kept");
    for (;;) pause();
    return 0;
  });
  ASSERT_EQ(server.Hear(), "kept");
  server.Kill();
  ExpectSuccessorGets(300);
}

TEST_F(HolderTest, ASecondServerIsToldBusyWhileTheFirstLives) {
  Child server = ServerThatKeeps(3);
  std::vector<KeptObject> predecessor;
  const auto second = Connect(&predecessor);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().status, ExitStatus::kImpossible);
  EXPECT_THAT(second.error().message,
              AllOf(HasSubstr("another landgate-agent"), HasSubstr(std::to_string(server.pid()))));
  EXPECT_TRUE(predecessor.empty());
  // Not dead but stopped: still its turn.
  ASSERT_EQ(kill(server.pid(), SIGSTOP), 0);
  EXPECT_FALSE(Connect(&predecessor));
  server.Kill();
  ExpectSuccessorGets(3);
}

TEST_F(HolderTest, ASuccessorThatIsEarlyGetsItsTurnWhenThePredecessorIsDead) {
  Child server = ServerThatKeeps(3);
  Child successor = Child::Start([this](const Child::Mouth& mouth) {
    mouth.Say("starting");
    std::vector<KeptObject> predecessor;
    const auto holder = Connect(&predecessor);
    ExpectKept(predecessor, 3);
    return holder && !testing::Test::HasFailure() ? 0 : 1;
  });
  ASSERT_EQ(successor.Hear(), "starting");
  server.Kill();  // before or while the other one says hello
  EXPECT_EQ(successor.Wait(), 0);
}

TEST_F(HolderTest, ConnectionsWaitForTheNextServerWithAllThatWasSent) {
  const std::string path = directory_ + "/agent.sock";
  Child server = Child::Start([&](const Child::Mouth& mouth) {
    std::vector<KeptObject> predecessor;
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<KeptObject> connections;
    auto holder = Connect(&predecessor, [&](KeptObject object) {
      const std::lock_guard lock(mutex);
      connections.push_back(std::move(object));
      changed.notify_all();
    });
    if (!holder) return 1;
    if (!(*holder)->Keep(Kept::kSocket, 77, "", Listen(path, SOCK_STREAM))) return 2;
    mouth.Say("listening");
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return connections.size() == 2; });
    if (DecodeSocketKey(connections[0].blob).value_or(0) != 77) return 3;
    (*holder)->Drop(Kept::kConnection, connections[0].key);  // dealt with
    mouth.Say("two");
    for (;;) pause();
    return 0;
  });
  ASSERT_EQ(server.Hear(), "listening");
  const UniqueFd first = ConnectTo(path, SOCK_STREAM);
  ASSERT_TRUE(first.valid());
  const UniqueFd second = ConnectTo(path, SOCK_STREAM);
  ASSERT_TRUE(second.valid());
  ASSERT_EQ(server.Hear(), "two");
  server.Kill();
  UniqueFd third = ConnectTo(path, SOCK_STREAM);  // while nobody serves
  ASSERT_TRUE(third.valid());
  const std::string text = "state of a container";
  const UniqueFd sent = Memfd("the listener");
  const BorrowedFd fds[] = {sent};
  ASSERT_TRUE(SendWithFds(third, std::as_bytes(std::span(text)), fds, 0));
  third.Reset();  // and its sender has gone

  std::vector<KeptObject> predecessor;
  const auto holder = Connect(&predecessor);
  ASSERT_TRUE(holder) << holder.error().message;
  std::vector<KeptObject*> connections;
  for (KeptObject& object : predecessor) {
    if (object.kind == Kept::kConnection) connections.push_back(&object);
  }
  ASSERT_EQ(connections.size(), 2u) << "the second and the third";
  EXPECT_LT(connections[0]->key, connections[1]->key);
  std::array<std::byte, 256> buffer;
  const auto received = ReceiveWithFds(connections[1]->fd, buffer, 1, 0);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->bytes, text.size());
  ASSERT_EQ(received->fds.size(), 1u);
  EXPECT_EQ(ContentOf(received->fds[0]), "the listener");
}

TEST_F(HolderTest, ConnectionsSurviveTheHolderToo) {
  const std::string path = directory_ + "/agent.sock";
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<KeptObject> connections;
  const auto note = [&](KeptObject object) {
    const std::lock_guard lock(mutex);
    connections.push_back(std::move(object));
    changed.notify_all();
  };
  const auto wait_for = [&](size_t count) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(30),
                            [&] { return connections.size() >= count; });
  };
  Child server = Child::Start([&](const Child::Mouth& mouth) {
    std::vector<KeptObject> predecessor;
    auto holder = Connect(&predecessor, note);
    if (!holder || !(*holder)->Keep(Kept::kSocket, 1, "", Listen(path, SOCK_STREAM))) return 1;
    const UniqueFd first = ConnectTo(path, SOCK_STREAM);
    if (!wait_for(1)) return 2;
    kill(HolderPid(), SIGKILL);
    const UniqueFd second = ConnectTo(path, SOCK_STREAM);  // the socket itself never was closed
    if (!second.valid() || !wait_for(2)) return 3;
    if (connections[0].key >= connections[1].key) return 4;
    mouth.Say("two");
    for (;;) pause();
    return 0;
  });
  ASSERT_EQ(server.Hear(), "two");
  server.Kill();
  std::vector<KeptObject> predecessor;
  const auto holder = Connect(&predecessor);
  ASSERT_TRUE(holder);
  EXPECT_EQ(std::ranges::count(predecessor, Kept::kConnection, &KeptObject::kind), 2);
}

TEST_F(HolderTest, NeitherGarbageNorSilenceDisturbsIt) {
  Child server = ServerThatKeeps(10);
  const pid_t holder = HolderPid();
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 8; ++i) silent.push_back(ConnectTo(socket_, SOCK_SEQPACKET));
  HolderPacket hello = EncodeHolderMessage({.verb = HolderVerb::kHello});
  const HolderPacket keep =
      EncodeHolderMessage({.verb = HolderVerb::kKeep, .kind = Kept::kListener, .key = 1});
  const UniqueFd memfd = Memfd("x");
  const std::vector<BorrowedFd> one(1, memfd), many(200, memfd);
  const auto expect_disconnected = [&](std::span<const std::byte> bytes,
                                       std::span<const BorrowedFd> fds, const char* what) {
    const UniqueFd peer = ConnectTo(socket_, SOCK_SEQPACKET);
    ASSERT_TRUE(peer.valid()) << what;
    ASSERT_TRUE(SendWithFds(peer, bytes, fds, 0)) << what;
    char answer;
    EXPECT_LE(recv(peer.get(), &answer, 1, 0), 0) << what;
  };
  expect_disconnected(std::span(hello).first(1), {}, "one byte");
  expect_disconnected(std::span(hello).first(hello.size() - 1), {}, "all but one byte");
  expect_disconnected(std::vector<std::byte>(4096), {}, "a page of zeros");
  expect_disconnected(keep, one, "keep without hello");
  expect_disconnected(hello, one, "hello with a descriptor");
  expect_disconnected(hello, many, "hello with 200 descriptors");
  hello[0] ^= std::byte{1};
  expect_disconnected(hello, {}, "another magic");
  EXPECT_EQ(HolderPid(), holder);
  server.Kill();
  ExpectSuccessorGets(10);
}

TEST_F(HolderTest, UsersThatAreNeitherRootNorItsOwnAreRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "changing the user needs root";
  Child server = ServerThatKeeps(1);
  struct stat status {};
  ASSERT_EQ(stat(socket_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(chmod(socket_.c_str(), 0666), 0);  // as if the mode didn't protect it
  ASSERT_EQ(chmod(directory_.c_str(), 0755), 0);
  Child stranger = Child::Start([this](const Child::Mouth&) {
    if (setresuid(1000, 1000, 1000) < 0) return 1;
    const UniqueFd peer = ConnectTo(socket_, SOCK_SEQPACKET);
    if (!peer.valid()) return 2;
    (void)SendWithFds(peer, EncodeHolderMessage({.verb = HolderVerb::kHello}), {}, 0);
    char answer;
    return recv(peer.get(), &answer, 1, 0) <= 0 ? 0 : 3;
  });
  EXPECT_EQ(stranger.Wait(), 0);
}

TEST_F(HolderTest, WhenItIsFullItSaysSoAndGoesOn) {
  Child server = Child::Start([this](const Child::Mouth& mouth) {
    const rlimit little{128, 128};  // the holder inherits it, hard limit and all
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    if (prlimit(0, RLIMIT_NOFILE, &little, nullptr) < 0) return 1;
    std::vector<KeptObject> predecessor;
    auto holder = Connect(&predecessor);
    if (!holder) return 2;
    int kept = 0;
    Status full;
    const UniqueFd memfd = Memfd("content");
    while (kept < 128) {
      full = (*holder)->Keep(Kept::kListener, static_cast<uint64_t>(kept + 1), "", memfd);
      if (!full) break;
      ++kept;
    }
    if (full || full.error().error_number != EMFILE || kept < 32) return 3;
    if ((*holder)->Keep(Kept::kListener, 1000, "", memfd)) return 4;
    (*holder)->Drop(Kept::kListener, 1);
    if (!(*holder)->Keep(Kept::kListener, 1000, "", memfd)) return 5;
    mouth.Say(std::to_string(kept));
    for (;;) pause();
    return 0;
  });
  const std::string kept = server.Hear();
  ASSERT_NE(kept, "") << server.Wait();
  server.Kill();
  std::vector<KeptObject> predecessor;
  const auto holder = Connect(&predecessor);
  ASSERT_TRUE(holder) << holder.error().message;
  EXPECT_EQ(predecessor.size(), std::stoul(kept));
}

TEST_F(HolderTest, IsAskedToEndAndEndsWhenNothingIsKeptForAContainer) {
  Child server = ServerThatKeeps(1);
  const pid_t pid = HolderPid();
  const Result<UniqueFd> process = PidfdOpen(pid);
  ASSERT_TRUE(process);
  for (const int ignored : {SIGHUP, SIGPIPE, SIGTERM, SIGINT}) ASSERT_EQ(kill(pid, ignored), 0);
  server.Kill();
  std::vector<KeptObject> predecessor;
  {
    auto holder = Connect(&predecessor);
    ASSERT_TRUE(holder);
    ASSERT_EQ(predecessor.size(), 1u) << "the signals must not have cost a descriptor";
    EXPECT_EQ(HolderPid(), pid);
    (*holder)->Drop(predecessor[0].kind, predecessor[0].key);
  }
  WaitForEnd(*process);
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

TEST_F(HolderTest, HasNoPrivilegesItDoesNotNeed) {
  Child server = ServerThatKeeps(1);
  const Result<std::string> status = ReadFile("/proc/" + std::to_string(HolderPid()) + "/status");
  ASSERT_TRUE(status);
  EXPECT_THAT(*status, HasSubstr("Name:\tlandgate-hold\n"));
  EXPECT_THAT(*status, HasSubstr("NoNewPrivs:\t1\n"));
  EXPECT_THAT(*status, HasSubstr("Seccomp:\t2\n"));
#ifndef __SANITIZE_THREAD__  // which has one of its own
  EXPECT_THAT(*status, HasSubstr("Threads:\t1\n"));
#endif
  EXPECT_THAT(*status, HasSubstr("CapAmb:\t0000000000000000\n"));
  // CAP_SYS_RESOURCE, bit 24, where there is one to keep.
  EXPECT_THAT(*status, testing::AnyOf(HasSubstr("CapEff:\t0000000000000000\n"),
                                      HasSubstr("CapEff:\t0000000001000000\n")));
  EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(HolderPid()) + "/cwd"), "/");
}

TEST_F(HolderTest, OneHolderPerSocket) {
  Child server = ServerThatKeeps(1);
  const pid_t pid = HolderPid();
  const std::string command = std::string("exec ") +
                              std::filesystem::read_symlink(kThisProgram).string() +
                              " hold --socket " + socket_ + " 2>/dev/null";
  const int status = system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_EQ(HolderPid(), pid);
}

TEST_F(HolderTest, TakesItsSocketFromAServiceManager) {
  Child manager = Child::Start([this](const Child::Mouth& mouth) {
    const UniqueFd socket = Listen(socket_, SOCK_SEQPACKET);
    if (socket.get() != 3 && dup2(socket.get(), 3) != 3) return 1;
    if (fcntl(3, F_SETFD, 0) < 0) return 1;
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "1", 1);
    mouth.Say("listening");
    execl(kThisProgram, "landgate-agent", "hold", "--stay", nullptr);
    return 2;
  });
  ASSERT_EQ(manager.Hear(), "listening");
  Child server = ServerThatKeeps(5);
  EXPECT_EQ(HolderPid(), manager.pid());
  server.Kill();
  ExpectSuccessorGets(5);
  manager.Kill();  // the holder itself
  EXPECT_TRUE(std::filesystem::exists(socket_)) << "the manager's, not the holder's to remove";
}

TEST_F(HolderTest, EndsByItselfWhenNothingIsKeptAndNobodyIsConnected) {
  HolderLoop::Options options;
  options.idle = std::chrono::milliseconds(50);
  Result<HolderLoop> loop =
      HolderLoop::Create(Listen(socket_, SOCK_SEQPACKET | SOCK_NONBLOCK), UniqueFd(), options);
  ASSERT_TRUE(loop);
  const auto run_for = [&](std::chrono::milliseconds time) {  // true: it has not ended
    const auto until = std::chrono::steady_clock::now() + time;
    Result<bool> more = true;
    while (more && *more && std::chrono::steady_clock::now() < until)
      more = loop->Step(std::chrono::milliseconds(10));
    return more && *more;
  };
  UniqueFd peer = ConnectTo(socket_, SOCK_SEQPACKET);
  EXPECT_TRUE(run_for(std::chrono::milliseconds(200))) << "somebody is connected";
  const UniqueFd memfd = Memfd("x");
  const BorrowedFd fds[] = {memfd};
  const auto say = [&](HolderVerb verb, bool with_fd) {
    return SendWithFds(peer, EncodeHolderMessage({.verb = verb, .kind = Kept::kListener, .key = 1}),
                       std::span(fds, with_fd ? 1 : 0), 0);
  };
  ASSERT_TRUE(say(HolderVerb::kHello, false));
  ASSERT_TRUE(run_for(std::chrono::milliseconds(50)));
  ASSERT_TRUE(say(HolderVerb::kKeep, true));
  ASSERT_TRUE(run_for(std::chrono::milliseconds(50)));
  EXPECT_EQ(loop->kept(), 1u);
  peer.Reset();
  EXPECT_TRUE(run_for(std::chrono::milliseconds(200))) << "something is kept";
  EXPECT_EQ(loop->peers(), 0u);
  // The same process comes again: it lives, so it still is the serving one.
  peer = ConnectTo(socket_, SOCK_SEQPACKET);
  ASSERT_TRUE(say(HolderVerb::kHello, false));
  ASSERT_TRUE(run_for(std::chrono::milliseconds(50)));
  ASSERT_TRUE(say(HolderVerb::kDrop, false));
  ASSERT_TRUE(run_for(std::chrono::milliseconds(50)));
  EXPECT_EQ(loop->kept(), 0u);
  peer.Reset();
  EXPECT_FALSE(run_for(std::chrono::seconds(30)));
}

// What a serving process leaves behind that had no container, and those who still connect.
TEST_F(HolderTest, TheAreaSocketsAndConnectionsDoNotKeepItAlive) {
  const std::string path = directory_ + "/agent.sock";
  HolderLoop::Options options;
  options.idle = std::chrono::milliseconds(300);
  Result<HolderLoop> loop =
      HolderLoop::Create(Listen(socket_, SOCK_SEQPACKET | SOCK_NONBLOCK), UniqueFd(), options);
  ASSERT_TRUE(loop);
  UniqueFd peer = ConnectTo(socket_, SOCK_SEQPACKET);
  const auto say = [&](const HolderMessage& message, const UniqueFd& fd = UniqueFd()) {
    const BorrowedFd fds[] = {fd};
    return SendWithFds(peer, EncodeHolderMessage(message), std::span(fds, fd.valid() ? 1 : 0), 0);
  };
  const auto settle = [&] {
    for (int i = 0; i < 10; ++i)
      ASSERT_TRUE(loop->Step(std::chrono::milliseconds(0)).value_or(false));
  };
  const UniqueFd memfd = Memfd("x");
  ASSERT_TRUE(say({.verb = HolderVerb::kHello}));
  settle();
  for (const Kept kind : {Kept::kArea, Kept::kContainer}) {
    ASSERT_TRUE(say({.verb = HolderVerb::kKeep, .kind = kind, .key = 1}, memfd));
    settle();
  }
  {
    const UniqueFd listening = Listen(path, SOCK_STREAM);
    ASSERT_TRUE(say({.verb = HolderVerb::kKeep, .kind = Kept::kSocket, .key = 1}, listening));
    settle();
  }
  peer.Reset();
  const auto somebody_connects = [&] { return ConnectTo(path, SOCK_STREAM).valid(); };
  const auto ended_within = [&](std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < until) {
      (void)somebody_connects();
      const Result<bool> more = loop->Step(std::chrono::milliseconds(10));
      if (!more || !*more) return true;
    }
    return false;
  };
  EXPECT_FALSE(ended_within(2 * options.idle)) << "a container is kept";
  EXPECT_GT(loop->kept(), 3u) << "connections are accepted and kept";
  peer = ConnectTo(socket_, SOCK_SEQPACKET);
  ASSERT_TRUE(say({.verb = HolderVerb::kHello}));
  ASSERT_TRUE(say({.verb = HolderVerb::kDrop, .kind = Kept::kContainer, .key = 1}));
  peer.Reset();
  EXPECT_TRUE(ended_within(std::chrono::seconds(30)));
  EXPECT_GT(loop->kept(), 3u);
  { const HolderLoop gone = *std::move(loop); }
  EXPECT_FALSE(somebody_connects()) << "nobody accepts any more";
}

// The answer to its first message can't be sent any more; the others are there all the same.
TEST_F(HolderTest, WhatADeadServerSaidLastCounts) {
  Result<HolderLoop> loop =
      HolderLoop::Create(Listen(socket_, SOCK_SEQPACKET | SOCK_NONBLOCK), UniqueFd(), {});
  ASSERT_TRUE(loop);
  UniqueFd peer = ConnectTo(socket_, SOCK_SEQPACKET);
  const UniqueFd memfd = Memfd("x");
  const BorrowedFd fds[] = {memfd};
  const auto keep = [&](uint64_t key) {
    return SendWithFds(
        peer, EncodeHolderMessage({.verb = HolderVerb::kKeep, .kind = Kept::kListener, .key = key}),
        fds, 0);
  };
  ASSERT_TRUE(SendWithFds(peer, EncodeHolderMessage({.verb = HolderVerb::kHello}), {}, 0));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(loop->Step(std::chrono::milliseconds(0)));
  // Shut for reading: the first answer fails with EPIPE while the connection has no hang-up yet.
  ASSERT_EQ(shutdown(peer.get(), SHUT_RD), 0);
  for (const uint64_t key : {1, 2, 3}) ASSERT_TRUE(keep(key));
  ASSERT_TRUE(SendWithFds(
      peer, EncodeHolderMessage({.verb = HolderVerb::kDrop, .kind = Kept::kListener, .key = 1}), {},
      0));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(loop->Step(std::chrono::milliseconds(0)));
  EXPECT_EQ(loop->kept(), 2u) << "three were kept, one was dropped";
}

TEST_F(HolderTest, NeverMoreConnectionsThanItsLimit) {
  HolderLoop::Options options;
  options.max_connections = 3;
  Result<HolderLoop> loop =
      HolderLoop::Create(Listen(socket_, SOCK_SEQPACKET | SOCK_NONBLOCK), UniqueFd(), options);
  ASSERT_TRUE(loop);
  const auto settle = [&] {
    for (int i = 0; i < 20; ++i)
      ASSERT_TRUE(loop->Step(std::chrono::milliseconds(0)).value_or(false));
  };
  const std::string path = directory_ + "/agent.sock";
  const UniqueFd listening = Listen(path, SOCK_STREAM);
  const BorrowedFd fds[] = {listening};
  const UniqueFd peer = ConnectTo(socket_, SOCK_SEQPACKET);
  const auto say = [&](const HolderMessage& message, bool with_fd) {
    ASSERT_TRUE(
        SendWithFds(peer, EncodeHolderMessage(message), std::span(fds, with_fd ? 1 : 0), 0));
    settle();
  };
  say({.verb = HolderVerb::kHello}, false);
  say({.verb = HolderVerb::kKeep, .kind = Kept::kSocket, .key = 1}, true);
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(ConnectTo(path, SOCK_STREAM));
  settle();
  EXPECT_EQ(loop->kept(), 4u) << "the socket and three; two more wait in the backlog";
  // What is dealt with makes room.
  std::vector<uint64_t> connections;
  std::array<std::byte, kHolderMessageBytes> packet;
  while (const auto received = ReceiveWithFds(peer, packet, 1, MSG_DONTWAIT)) {
    const auto message = DecodeHolderMessage(packet);
    ASSERT_TRUE(message);
    if (message->verb == HolderVerb::kObject) connections.push_back(message->key);
  }
  ASSERT_EQ(connections.size(), 3u);
  for (const uint64_t key : connections)
    say({.verb = HolderVerb::kDrop, .kind = Kept::kConnection, .key = key}, false);
  EXPECT_EQ(loop->kept(), 3u);
}

TEST_F(HolderTest, APeerIsKnownByItsPidToo) {
  const UniqueFd listening = Listen(socket_, SOCK_SEQPACKET);
  Child other = Child::Start([this](const Child::Mouth& mouth) {
    const UniqueFd peer = ConnectTo(socket_, SOCK_SEQPACKET);
    mouth.Say("connected");
    pause();
    return 0;
  });
  ASSERT_EQ(other.Hear(), "connected");
  const UniqueFd accepted(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  for (const auto identify : {IdentifyPeer, IdentifyPeerByPid}) {
    const Result<HolderPeer> peer = identify(accepted);
    ASSERT_TRUE(peer) << peer.error().message;
    EXPECT_EQ(peer->pid, other.pid());
    EXPECT_FALSE(ProcessHasEnded(peer->process));
  }
  const Result<HolderPeer> peer = IdentifyPeerByPid(accepted);
  ASSERT_TRUE(peer);
  other.Kill();
  EXPECT_TRUE(ProcessHasEnded(peer->process));
  EXPECT_EQ(IdentifyPeerByPid(accepted).error().error_number, ESRCH) << "its number is free again";
}

}  // namespace
}  // namespace landgate::agent

LANDGATE_AGENT_TEST_MAIN(landgate::agent::HelperOperations())
