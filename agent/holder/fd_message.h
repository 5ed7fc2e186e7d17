// Bytes and descriptors in one message over a UNIX socket (SCM_RIGHTS, unix(7)).
//
// Whatever fails, every descriptor that arrived is closed, and a message that lost bytes or
// descriptors on its way is an error and never a shorter message. Descriptors are close-on-exec
// from birth; no call raises SIGPIPE. EINTR is retried. Thread-safe.
#ifndef LANDGATE_AGENT_HOLDER_FD_MESSAGE_H_
#define LANDGATE_AGENT_HOLDER_FD_MESSAGE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

struct FdMessage {
  size_t bytes = 0;  // 0: the end of the stream
  std::vector<UniqueFd> fds;
};

// Receives into `buffer`. `flags`: MSG_DONTWAIT, MSG_PEEK (which duplicates the descriptors).
// EAGAIN: nothing there. EMSGSIZE: a packet longer than `buffer`. EMFILE: this process has no room
// for the descriptors; they are lost unless MSG_PEEK was given. E2BIG: more than `max_fds`.
Result<FdMessage> ReceiveWithFds(BorrowedFd socket, std::span<std::byte> buffer, size_t max_fds,
                                 int flags);

// Sends all of `bytes`, which must not be empty; on a stream socket in as many pieces as it takes,
// the descriptors with the first. At most 253 descriptors (SCM_MAX_FD). EAGAIN under MSG_DONTWAIT
// where nothing was sent; EPIPE, ECONNRESET: nobody there. ETOOMANYREFS: more descriptors of this
// user are on their way than its RLIMIT_NOFILE; some other time it may work.
Status SendWithFds(BorrowedFd socket, std::span<const std::byte> bytes,
                   std::span<const BorrowedFd> fds, int flags);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HOLDER_FD_MESSAGE_H_
