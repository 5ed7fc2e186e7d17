// Who is at the other end of a socket, for the holder.
#ifndef LANDGATE_AGENT_HOLDER_HOLDER_PEER_H_
#define LANDGATE_AGENT_HOLDER_HOLDER_PEER_H_

#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

struct HolderPeer {
  pid_t pid = 0;
  UniqueFd process;  // pidfd: readable when the process has ended, with all its threads
};

// The process that connected, or listens, at the other end. Refused: a user who is neither root nor
// the caller's own, a process that is not visible in this pid namespace. ESRCH: it has ended.
//
// SO_PEERPIDFD (Linux 6.5) names it for sure. Before that its pid is looked up, which is another
// process's where the peer has ended meanwhile; but then its end of the connection is closed (the
// descriptor is close-on-exec and never sent), and that is looked at after the lookup.
Result<HolderPeer> IdentifyPeer(BorrowedFd socket);
// The same without asking for SO_PEERPIDFD.
Result<HolderPeer> IdentifyPeerByPid(BorrowedFd socket);

// The process behind `pidfd` has ended.
bool ProcessHasEnded(BorrowedFd pidfd);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HOLDER_HOLDER_PEER_H_
