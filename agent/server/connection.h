// One connection of a runtime or of a hook: reads its one JSON object and its descriptors.
//
// What facts there are about the peers: one object with SCM_RIGHTS at its beginning, no length
// prefix; in one piece or in many; ended by the end of the stream or by its last bracket; a runtime
// may connect early and send late, or never. Nothing waits here and nothing times out.
//
// Nothing is lost when this process dies: the socket is kept by the holder until the server drops
// it, the bytes are only looked at (MSG_PEEK, SO_PEEK_OFF: Linux 3.4), and where a message is too
// long for that they go to a Spool. Not thread-safe.
#ifndef LANDGATE_AGENT_SERVER_CONNECTION_H_
#define LANDGATE_AGENT_SERVER_CONNECTION_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/server/json_scan.h"
#include "agent/server/spool.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

struct Peer {
  pid_t pid = 0;  // 0: not visible from here
  uid_t uid = 0;
};
Result<Peer> PeerOf(BorrowedFd socket);  // SO_PEERCRED: who connected

class Connection {
 public:
  // Gives a spool to the holder; called at most once per connection.
  using Keep = std::function<Status(BorrowedFd spool)>;

  Connection(uint64_t key, UniqueFd socket, Keep keep);
  // As a predecessor left it, with the kept descriptor of its spool.
  static Result<Connection> Resume(uint64_t key, UniqueFd socket, UniqueFd spool);

  uint64_t key() const { return key_; }
  BorrowedFd socket() const { return socket_; }

  enum class Progress {
    kMore,      // nothing more to be had now
    kComplete,  // text() is the object
    kEmpty,     // it ended without a byte
  };
  // Reads what is there. Errors are final, but EMFILE (no room for the descriptors that came),
  // after which it may be tried again.
  Result<Progress> Read();
  std::string_view text() const;
  bool spooled() const { return spool_.has_value(); }
  // Those of the first bytes, in their order. More than once: none.
  std::vector<UniqueFd> TakeFds();

 private:
  Result<Progress> PeekMore();
  Result<Progress> SpoolMore();
  Status StartSpool();
  std::optional<Result<Progress>> Judge(std::string_view piece);

  uint64_t key_;
  UniqueFd socket_;
  Keep keep_;
  JsonScan scan_;
  std::string peeked_;
  std::optional<Spool> spool_;
  bool has_fds_ = false;  // those of later bytes are copies of the first, or nobody's
  std::vector<UniqueFd> fds_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_CONNECTION_H_
