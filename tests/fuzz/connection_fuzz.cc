// fuzz: agent
// What a runtime or a hook sends, in pieces, with descriptors: no input may crash, leave a
// descriptor behind, or make an object out of something else. The first bytes say how: how many
// descriptors come with the first piece, whether the peer ends, and how long the pieces are.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "agent/server/connection.h"
#include "agent/server/message.h"

namespace {

using landgate::BorrowedFd;
using landgate::Result;
using landgate::Status;
using landgate::UniqueFd;
using landgate::agent::Connection;
using landgate::agent::Message;

// The lowest number that is free: the same before and after where nothing stays open.
int LowestFree() {
  const UniqueFd probe(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return probe.get();
}

bool Send(int socket, std::string_view piece, size_t fds) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(80 * sizeof(int))> control{};
  iovec io{const_cast<char*>(piece.data()), piece.size()};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  if (fds > 0) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds * sizeof(int));
    for (size_t i = 0; i < fds; ++i)
      memcpy(CMSG_DATA(part) + i * sizeof(int), &socket, sizeof socket);
  }
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(piece.size());
}

void Check(Connection& connection, std::string_view sent) {
  const std::string_view text = connection.text();
  if (text.empty() || text.back() != '}' || sent.substr(0, text.size()) != text) abort();
  const Result<Message> message = landgate::agent::DecodeMessage(text, connection.TakeFds());
  // No descriptor here is a listener, a pidfd or a mount namespace.
  if (message && !std::holds_alternative<landgate::agent::UnregisterMessage>(*message)) abort();
}

void Run(size_t fds, bool ends, bool resumes, size_t step, std::string_view text) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) abort();
  UniqueFd peer(pair[0]);
  UniqueFd spooled;
  auto connection = std::make_unique<Connection>(1, UniqueFd(pair[1]), [&](BorrowedFd spool) {
    spooled = UniqueFd(fcntl(spool.get(), F_DUPFD_CLOEXEC, 3));
    return Status();
  });
  for (size_t at = 0; at < text.size();) {
    const std::string_view piece = text.substr(at, step);
    if (!Send(peer.get(), piece, at == 0 ? fds : 0)) return;
    at += piece.size();
    if (ends && at == text.size()) peer.Reset();
    const Result<Connection::Progress> progress = connection->Read();
    if (!progress) return;
    if (*progress == Connection::Progress::kComplete) return Check(*connection, text);
    if (!resumes || !spooled.valid()) continue;
    // Another process goes on with it.
    UniqueFd socket(fcntl(connection->socket().get(), F_DUPFD_CLOEXEC, 3));
    Result<Connection> resumed = Connection::Resume(
        1, std::move(socket), UniqueFd(fcntl(spooled.get(), F_DUPFD_CLOEXEC, 3)));
    if (!resumed) abort();
    connection = std::make_unique<Connection>(std::move(*resumed));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const int before = LowestFree();
  Run(data[0] % 70, (data[1] & 1) != 0, (data[1] & 2) != 0, size_t{data[2]} + 1,
      {reinterpret_cast<const char*>(data) + 3, size - 3});
  if (LowestFree() != before) abort();
  return 0;
}
