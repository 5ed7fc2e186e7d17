// What the last serving process left with the holder, sorted. Pure.
#ifndef LANDGATE_AGENT_SERVER_PREDECESSOR_H_
#define LANDGATE_AGENT_SERVER_PREDECESSOR_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/holder/holder_client.h"
#include "base/unique_fd.h"

namespace landgate::agent {

struct Predecessor {
  struct KeptContainer {
    std::string id;
    UniqueFd registration, process, mount_namespace;
  };
  struct KeptConnection {
    UniqueFd socket, spool;    // spool: not valid where there is none
    uint64_t accepted_on = 0;  // key of the kSocket
  };
  UniqueFd area;
  std::vector<KeptObject> sockets;
  std::map<uint64_t, KeptContainer> containers;
  std::map<uint64_t, KeptConnection> connections;
  std::vector<KeptConnection> delivered;  // their listeners are kept: nothing more is read
  std::vector<KeptObject> listeners;      // by key
  std::map<uint64_t, UniqueFd> sessions;  // by their listeners' keys
  // Parts of what was being given to the holder when the process died: to be dropped.
  std::vector<std::pair<Kept, uint64_t>> leftovers;
};

Predecessor Sort(std::vector<KeptObject> kept);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_PREDECESSOR_H_
