#include "agent/holder/fd_message.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

namespace landgate::agent {
namespace {

class FdMessageTest : public testing::TestWithParam<int> {
 protected:
  FdMessageTest() : null_(open("/dev/null", O_RDONLY | O_CLOEXEC)) {
    int ends[2];
    if (socketpair(AF_UNIX, GetParam() | SOCK_CLOEXEC, 0, ends) < 0) abort();
    here_ = UniqueFd(ends[0]);
    there_ = UniqueFd(ends[1]);
    before_ = Open();
  }
  static int Open() {
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return count;
  }
  Status Send(std::string_view text, size_t fds) {
    const std::vector<BorrowedFd> many(fds, null_);
    return SendWithFds(here_, std::as_bytes(std::span(text)), many, 0);
  }
  Result<FdMessage> Receive(size_t max_fds, int flags = MSG_DONTWAIT) {
    return ReceiveWithFds(there_, buffer_, max_fds, flags);
  }

  UniqueFd null_, here_, there_;
  int before_ = 0;
  std::array<std::byte, 64> buffer_{};
};

TEST_P(FdMessageTest, BytesAndDescriptorsArriveTogether) {
  for (const size_t count : {0, 1, 2, 64, 253}) {
    ASSERT_TRUE(Send("hello", count)) << count;
    const auto message = Receive(253);
    ASSERT_TRUE(message) << count;
    EXPECT_EQ(message->bytes, 5u);
    ASSERT_EQ(message->fds.size(), count);
    for (const UniqueFd& fd : message->fds) EXPECT_EQ(fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(Open(), before_);
}

TEST_P(FdMessageTest, MoreDescriptorsThanExpectedAreAllClosed) {
  ASSERT_TRUE(Send("hello", 3));
  const auto message = Receive(2);
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().error_number, E2BIG);
  EXPECT_EQ(Open(), before_);
}

TEST_P(FdMessageTest, NoRoomForThemIsAnErrorAndClosesThoseThatCame) {
  ASSERT_TRUE(Send("hello", 5));
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit few{static_cast<rlim_t>(before_ + 2), limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  const auto message = Receive(8);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().error_number, EMFILE);
  EXPECT_EQ(Open(), before_);
}

TEST_P(FdMessageTest, PeekingTakesNothing) {
  ASSERT_TRUE(Send("hello", 2));
  for (int i = 0; i < 2; ++i) {
    const auto peeked = Receive(2, MSG_PEEK | MSG_DONTWAIT);
    ASSERT_TRUE(peeked);
    EXPECT_EQ(peeked->fds.size(), 2u);
  }
  const auto message = Receive(2);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->fds.size(), 2u);
}

TEST_P(FdMessageTest, NobodyThere) {
  EXPECT_EQ(Receive(0).error().error_number, EAGAIN);
  here_.Reset();
  const auto end = Receive(0);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->bytes, 0u);
  here_ = std::move(there_);
  const Status sent = Send("hello", 0);  // and no SIGPIPE
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().error_number, EPIPE);
}

TEST_P(FdMessageTest, WhatCannotBeSentIsRefused) {
  EXPECT_EQ(Send("", 1).error().error_number, EINVAL);
  EXPECT_EQ(Send("hello", 254).error().error_number, EINVAL);
}

INSTANTIATE_TEST_SUITE_P(Sockets, FdMessageTest, testing::Values(SOCK_STREAM, SOCK_SEQPACKET),
                         [](const auto& type) {
                           return std::string(type.param == SOCK_STREAM ? "Stream" : "Packets");
                         });

using FdMessagePackets = FdMessageTest;
INSTANTIATE_TEST_SUITE_P(Packets, FdMessagePackets, testing::Values(SOCK_SEQPACKET));
TEST_P(FdMessagePackets, APacketThatIsTooLongIsNotCut) {
  ASSERT_TRUE(Send(std::string(65, 'x'), 1));
  const auto message = Receive(1);
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().error_number, EMSGSIZE);
  EXPECT_EQ(Open(), before_);
}

using FdMessageStream = FdMessageTest;
INSTANTIATE_TEST_SUITE_P(Stream, FdMessageStream, testing::Values(SOCK_STREAM));
TEST_P(FdMessageStream, MoreThanTheSocketHoldsIsSentInPieces) {
  const std::string text(4 << 20, 'x');
  std::thread sender([&] { EXPECT_TRUE(Send(text, 1)); });
  size_t bytes = 0, fds = 0;
  while (bytes < text.size()) {
    const auto message = Receive(1, 0);
    ASSERT_TRUE(message);
    bytes += message->bytes;
    fds += message->fds.size();
  }
  sender.join();
  EXPECT_EQ(fds, 1u);
}

}  // namespace
}  // namespace landgate::agent
