#include "agent/holder/holder_peer.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "base/linux_abi.h"
#include "base/syscalls.h"

namespace landgate::agent {
namespace {

Result<ucred> CredentialsOf(BorrowedFd socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
    return SystemError("asking who connected", errno);
  if (credentials.uid != 0 && credentials.uid != geteuid())
    return Refuse("a connection of user " + std::to_string(credentials.uid));
  if (credentials.pid <= 0) return Refuse("a connection from outside this pid namespace");
  return credentials;
}

bool OtherEndIsOpen(BorrowedFd socket) {
  pollfd look{socket.get(), 0, 0};
  return poll(&look, 1, 0) >= 0 && (look.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}

}  // namespace

bool ProcessHasEnded(BorrowedFd pidfd) {
  pollfd look{pidfd.get(), POLLIN, 0};
  return poll(&look, 1, 0) > 0;
}

Result<HolderPeer> IdentifyPeerByPid(BorrowedFd socket) {
  const Result<ucred> credentials = CredentialsOf(socket);
  if (!credentials) return Failure(credentials.error());
  Result<UniqueFd> process = PidfdOpen(credentials->pid);
  if (!process) return Forward(process);
  if (!OtherEndIsOpen(socket)) return SystemError("asking who connected", ESRCH);
  return HolderPeer{credentials->pid, *std::move(process)};
}

Result<HolderPeer> IdentifyPeer(BorrowedFd socket) {
  const Result<ucred> credentials = CredentialsOf(socket);
  if (!credentials) return Failure(credentials.error());
  int process = -1;
  socklen_t size = sizeof process;
  if (getsockopt(socket.get(), SOL_SOCKET, abi::kSoPeerPidfd, &process, &size) < 0) {
    if (errno == ENOPROTOOPT || errno == EPERM) return IdentifyPeerByPid(socket);
    // EINVAL: what some kernels say of a process that has ended.
    return SystemError("asking which process connected", errno == EINVAL ? ESRCH : errno);
  }
  return HolderPeer{credentials->pid, UniqueFd(process)};
}

}  // namespace landgate::agent
