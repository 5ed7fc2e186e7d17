// What the holder does, apart from how its process is started (holder.h): one thread, one epoll
// set, no call that waits for a peer.
//
// Peers are the processes that connect to the holder's own socket. They must run as root or as the
// holder's own user. One at a time serves: it gets everything that is kept, then may keep and drop.
// Another one that says hello waits for the serving process's death for kPredecessorPatience and is
// then told kBusy. A peer that breaks the grammar is disconnected, and nothing else happens.
//
// While something is waiting to be sent to a peer, nothing is read from it, so nothing that a peer
// does or leaves undone makes the holder's memory grow beyond what is kept. Not thread-safe.
#ifndef LANDGATE_AGENT_HOLDER_HOLDER_LOOP_H_
#define LANDGATE_AGENT_HOLDER_HOLDER_LOOP_H_

#include <chrono>
#include <cstddef>
#include <memory>

#include "agent/limits.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class HolderLoop {
 public:
  struct Options {
    bool stay = false;
    std::chrono::milliseconds idle = kHolderIdle;
    std::chrono::milliseconds predecessor_patience = kPredecessorPatience;
    size_t max_objects = kMaxHeldObjects;  // RLIMIT_NOFILE less the reserve, where that is less
    size_t max_connections = kMaxHeldConnections;
  };
  // `listening`: the holder's own socket, SOCK_SEQPACKET; `signals`: a signalfd, or nothing. Any
  // signal there asks it to end as soon as nothing is kept for a container.
  static Result<HolderLoop> Create(UniqueFd listening, UniqueFd signals, const Options& options);
  ~HolderLoop();
  HolderLoop(HolderLoop&& other) noexcept;
  HolderLoop& operator=(HolderLoop&&) = delete;

  // Handles what is there, after at most `timeout` (negative: as long as it takes). False: it has
  // nothing to do any more, now or later.
  Result<bool> Step(std::chrono::milliseconds timeout);
  // A peer that was accepted elsewhere; for tests.
  void AddPeer(UniqueFd socket);
  size_t kept() const;
  size_t peers() const;

 private:
  struct Impl;
  explicit HolderLoop(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HOLDER_HOLDER_LOOP_H_
