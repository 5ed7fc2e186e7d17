#include "hook/exec_refusal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>

#include "base/unique_fd.h"

namespace landgate::hook {
namespace {

constexpr int kListenerFd = 3;
constexpr int kMaxPassedFds = 253;  // SCM_MAX_FD

// Reads to the end of the connection; every descriptor that arrives is closed.
void Drain(BorrowedFd connection) {
  static std::array<char, 65536> bytes;
  while (true) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxPassedFds * sizeof(int))> control;
    iovec io{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &io;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count = recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC);
    if (count < 0 && errno == EINTR) continue;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); count >= 0 && header;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      const size_t fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < fds; ++i) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
        (void)close(fd);
      }
    }
    if (count <= 0) return;
  }
}

ino_t InodeOf(const std::string& path) {
  struct stat st;
  return lstat(path.c_str(), &st) == 0 ? st.st_ino : 0;
}

// The daemon's life; descriptors but the listener are gone.
void Serve(const std::string& path, ino_t inode, std::chrono::milliseconds patience) {
  pollfd listener{kListenerFd, POLLIN, 0};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  int ready = 0;
  do {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    ready = poll(&listener, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
  } while (ready < 0 && errno == EINTR);
  UniqueFd connection;
  if (ready > 0) connection.Reset(accept4(kListenerFd, nullptr, nullptr, SOCK_CLOEXEC));
  // Whoever comes later finds nobody. Failure: poststop removes the name, and nobody listens on it.
  // By now it may be the socket of the next attempt to start this container, which stays.
  if (InodeOf(path) == inode) (void)unlink(path.c_str());
  (void)close(kListenerFd);
  if (connection.valid()) Drain(connection);
}

// Nothing of the caller stays open: engines wait for the end of a hook's stdout and stderr, so
// those go first. Without a terminal: this opens nothing that could become one.
bool BecomeDaemon(UniqueFd listener) {
  (void)close_range(0, 2, 0);
  const int moved = fcntl(listener.get(), F_DUPFD, 16);
  if (moved < 0 || setsid() < 0 || chdir("/") < 0) return false;
  for (int fd = 0; fd < 3; ++fd) {
    if (open("/dev/null", O_RDWR | O_NOCTTY) != fd) return false;
  }
  if (dup2(moved, kListenerFd) < 0) return false;
  (void)close_range(kListenerFd + 1, ~0U, 0);
  (void)listener.Release();  // closed by the line above
  return true;
}

}  // namespace

Status StartExecRefusal(const std::string& socket_path, std::chrono::milliseconds patience) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return Refuse(socket_path + ": too long for a socket; set a shorter runDir in config.json");
  }
  memcpy(address.sun_path, socket_path.data(), socket_path.size());

  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return SystemError("socket", errno);
  if (unlink(socket_path.c_str()) < 0 && errno != ENOENT) return SystemError(socket_path, errno);
  const mode_t before = umask(0177);
  const int bound =
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int bind_errno = errno;
  (void)umask(before);
  if (bound < 0) return SystemError(socket_path, bind_errno);
  if (listen(listener.get(), 1) < 0) return SystemError(socket_path, errno);

  const ino_t inode = InodeOf(socket_path);

  const pid_t child = fork();
  if (child < 0) return SystemError("fork", errno);
  if (child == 0) {
    if (!BecomeDaemon(std::move(listener))) _exit(1);
    Serve(socket_path, inode, patience);
    _exit(0);
  }
  // Nobody waits for it: the runtime's connection waits in the backlog until it is taken. Where the
  // daemon fails, the listener ends with it and this process, and the runtime, which then can't
  // connect, does not start the container.
  return {};
}

}  // namespace landgate::hook
