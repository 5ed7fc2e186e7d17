// Connections of runtimes and hooks, from the moment that the holder has accepted one until what it
// brought is done: who may talk, reading, decoding, answering. An idle connection costs a
// descriptor and nothing else; the newest is refused when there are kMaxConnections.
//
// For the main loop's thread only.
#ifndef LANDGATE_AGENT_SERVER_ARRIVALS_H_
#define LANDGATE_AGENT_SERVER_ARRIVALS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "agent/holder/holder_client.h"
#include "agent/server/connection.h"
#include "agent/server/loop.h"
#include "agent/server/message.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class Arrivals {
 public:
  // What a message asks for. When it returns, whatever must survive is in the holder.
  using Deliver = std::function<Status(Message message, uint64_t connection)>;
  // A peer was turned away, or what it sent could not be used.
  using Refused = std::function<void(const std::string& why)>;
  Arrivals(Loop& loop, Holder& holder, Deliver deliver, Refused refused)
      : loop_(loop), holder_(holder), deliver_(std::move(deliver)), refused_(std::move(refused)) {}

  // One that the holder keeps under `key`; `spool` of a predecessor, or none.
  // `launcher_of`: the id of the container whose launcher it is (launcher_start.h); it may hand
  // over that container's listener and nothing else, and is told when it is served.
  void Add(uint64_t key, UniqueFd socket, UniqueFd spool, std::string launcher_of = {});
  // What a launcher is told whose listener is served.
  static void TellKept(BorrowedFd socket);
  size_t size() const { return open_.size(); }

 private:
  struct Open {
    Connection connection;
    Peer peer;
    Loop::Token token = 0;
    int tries = 0;            // without room for its descriptors
    std::string launcher_of;  // empty: a runtime or a hook
  };
  Result<Open> Admit(uint64_t key, UniqueFd socket, UniqueFd spool, std::string launcher_of);
  void FinishLauncher(Open& open);
  Status KeepSpool(uint64_t key, BorrowedFd spool);
  void Read(uint64_t key);
  void ReadNow(uint64_t key);
  void Finish(Open& open);
  void Refuse(uint64_t key, const std::string& why);
  void Close(uint64_t key);

  Loop& loop_;
  Holder& holder_;
  const Deliver deliver_;
  const Refused refused_;
  std::map<uint64_t, Open> open_;
  size_t spools_ = 0;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_ARRIVALS_H_
