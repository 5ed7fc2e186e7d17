#include "agent/holder/fd_message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>

namespace landgate::agent {
namespace {

// SCM_MAX_FD: the most that one message carries. Always room for all of them, so that a lost
// descriptor (MSG_CTRUNC) has one meaning: this process's table was full.
constexpr size_t kMostFds = 253;

union ControlBuffer {
  cmsghdr aligned;
  char bytes[CMSG_SPACE(sizeof(int) * kMostFds)];
};

// Owns every descriptor of the message before anything is judged.
std::vector<UniqueFd> TakeFds(msghdr& header) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

Result<FdMessage> ReceiveWithFds(BorrowedFd socket, std::span<std::byte> buffer, size_t max_fds,
                                 int flags) {
  ControlBuffer control;
  iovec part{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ssize_t count;
  do {
    header.msg_control = &control;
    header.msg_controllen = sizeof control;
    count = recvmsg(socket.get(), &header, flags | MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return SystemError("receiving a message", errno);
  FdMessage message{static_cast<size_t>(count), TakeFds(header)};
  if ((header.msg_flags & MSG_CTRUNC) != 0)
    return SystemError("receiving a message's descriptors", EMFILE);
  if (message.fds.size() > max_fds) return SystemError("a message with many descriptors", E2BIG);
  if ((header.msg_flags & MSG_TRUNC) != 0) return SystemError("a long message", EMSGSIZE);
  return message;
}

Status SendWithFds(BorrowedFd socket, std::span<const std::byte> bytes,
                   std::span<const BorrowedFd> fds, int flags) {
  if (bytes.empty() || fds.size() > kMostFds)
    return SystemError("sending a message that can't be", EINVAL);
  ControlBuffer control;
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};  // sendmsg(2) only reads it
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    std::memset(&control, 0, sizeof control);
    header.msg_control = &control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    for (size_t i = 0; i < fds.size(); ++i) {
      const int fd = fds[i].get();
      std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  for (size_t sent = 0; sent < bytes.size();) {
    part = {const_cast<std::byte*>(bytes.data()) + sent, bytes.size() - sent};
    const ssize_t count = sendmsg(socket.get(), &header, flags | MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EINTR) continue;
      return SystemError("sending a message", errno);
    }
    sent += static_cast<size_t>(count);
    header.msg_control = nullptr;  // they went with the first piece
    header.msg_controllen = 0;
  }
  return {};
}

}  // namespace landgate::agent
