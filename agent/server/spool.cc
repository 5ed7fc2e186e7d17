#include "agent/server/spool.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/limits.h"

namespace landgate::agent {
namespace {

constexpr size_t kScmMaxFd = 253;  // include/net/scm.h
constexpr size_t kMapBytes = kMaxStateBytes + 1;

}  // namespace

Result<Peeked> Peek(BorrowedFd socket, char* buffer, size_t size) {
  // As many as the kernel lets anybody send: what it cuts off then is for want of room in our
  // table.
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kScmMaxFd * sizeof(int))> control;
  iovec piece{buffer, size};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got;
  do {
    got = recvmsg(socket.get(), &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return SystemError("recvmsg", errno);
  Peeked peeked;
  peeked.bytes = static_cast<size_t>(got);
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
      peeked.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return SystemError("descriptors of a message could not be received", EMFILE);
  }
  return peeked;
}

void Spool::Unmap::operator()(char* memory) const { (void)munmap(memory, kMapBytes); }

Result<std::unique_ptr<char, Spool::Unmap>> Spool::Map(BorrowedFd memfd) {
  void* memory =
      mmap(nullptr, kMapBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memfd.get(), 0);
  if (memory == MAP_FAILED) return SystemError("mmap of a message's memory", errno);
  return std::unique_ptr<char, Unmap>(static_cast<char*>(memory));
}

Result<Spool> Spool::Create(const std::vector<UniqueFd>& fds) {
  if (fds.size() > kMaxStateFds) return Refuse("more descriptors than a message may have");
  UniqueFd memfd(memfd_create("landgate-message", MFD_CLOEXEC));
  if (!memfd.valid()) return SystemError("memfd_create", errno);
  if (ftruncate(memfd.get(), kMapBytes) != 0) return SystemError("ftruncate of a memfd", errno);
  auto memory = Map(memfd);
  if (!memory) return Forward(memory);

  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
    return SystemError("socketpair", errno);
  }
  UniqueFd kept(pair[0]);
  const UniqueFd writer(pair[1]);

  alignas(cmsghdr) std::array<char, CMSG_SPACE((kMaxStateFds + 1) * sizeof(int))> control{};
  char byte = 'S';
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE((fds.size() + 1) * sizeof(int));
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN((fds.size() + 1) * sizeof(int));
  for (size_t i = 0; i <= fds.size(); ++i) {
    const int fd = i == 0 ? memfd.get() : fds[i - 1].get();
    std::memcpy(CMSG_DATA(part) + i * sizeof(int), &fd, sizeof(fd));
  }
  if (sendmsg(writer.get(), &message, MSG_NOSIGNAL) != 1) return SystemError("sendmsg", errno);
  return Spool(std::move(kept), std::move(*memory), 0);
}

Result<Spool> Spool::Open(UniqueFd kept, std::vector<UniqueFd>* fds) {
  char byte;
  Result<Peeked> peeked = Peek(kept, &byte, 1);
  if (!peeked) return Forward(peeked);
  if (peeked->fds.empty()) return Refuse("a kept message has no memory");
  auto memory = Map(peeked->fds.front());
  if (!memory) return Forward(memory);
  const size_t length = strnlen(memory->get(), kMaxStateBytes);
  for (size_t i = 1; i < peeked->fds.size(); ++i) fds->push_back(std::move(peeked->fds[i]));
  return Spool(std::move(kept), std::move(*memory), length);
}

Result<size_t> Spool::Receive(BorrowedFd socket) {
  if (length_ == kMaxStateBytes) return SystemError("message", EMSGSIZE);
  ssize_t got;
  do {
    got = recv(socket.get(), memory_.get() + length_, kMaxStateBytes - length_, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return SystemError("recv", errno);
  length_ += static_cast<size_t>(got);
  return static_cast<size_t>(got);
}

}  // namespace landgate::agent
