// The holder's process: `landgate-agent hold`. What it is for: holder_client.h; what it says and
// how it ends: docs/holder.md.
#ifndef LANDGATE_AGENT_HOLDER_HOLDER_H_
#define LANDGATE_AGENT_HOLDER_HOLDER_H_

#include <string>

namespace landgate::agent {

struct HoldOptions {
  std::string socket_path;  // --socket PATH; with socket activation the socket comes from systemd
  bool stay = false;        // --stay: never ends by itself; for a unit of its own
  // --background: leaves its starter's session and standard streams; the starter gets the exit
  // status 0 as soon as the holder accepts connections.
  bool background = false;
};

// Runs until it has nothing to do any more; returns the exit status. Single-threaded, and to be
// called before the program has made any other thread. Errors go to stderr.
int HoldMain(const HoldOptions& options);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HOLDER_HOLDER_H_
