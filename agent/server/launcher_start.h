// The agent's side of the pure prestart shape (docs/pure-prestart.md): the launcher stands on the
// container's entrypoint, runs in its place, and asks to be taken off.
//
//   expect   a registration brought the socket that the launcher will connect to; from now on
//            nothing but the runtime and then the launcher may run as the container's process
//   start    the launcher connects: it must be that process and execute that file; every over-mount
//            is taken off, and it is told "ready ID"
//   admit    what it sends then, a listener or nothing, is a connection as a runtime's (arrivals.h)
//
// The socket and its connections are kept by the holder, so a successor goes on where this process
// ended: taking off twice is taking off once, and the launcher passes over a second "ready".
//
// For the main loop's thread only.
#ifndef LANDGATE_AGENT_SERVER_LAUNCHER_START_H_
#define LANDGATE_AGENT_SERVER_LAUNCHER_START_H_

#include <spdlog/logger.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "agent/audit.h"
#include "agent/container.h"
#include "agent/helper/helper_pool.h"
#include "agent/holder/holder_client.h"
#include "agent/server/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class LauncherStarts {
 public:
  // The launcher has been told that it may go on; `connection` is a kConnection of the holder,
  // `container` the id of the launcher's.
  using Admit =
      std::function<void(uint64_t connection, UniqueFd socket, const std::string& container)>;
  LauncherStarts(Loop& loop, Holder& holder, HelperPool& helpers, AuditSink& audit,
                 spdlog::logger& log, Admit admit)
      : loop_(loop),
        holder_(holder),
        helpers_(helpers),
        audit_(audit),
        log_(log),
        admit_(std::move(admit)) {}

  // `socket` listens already. Keeps it under `key`.
  Status Expect(uint64_t key, ContainerPtr container, BorrowedFd socket);
  // A predecessor's kSocket. False: it is not one of these.
  static bool IsLauncherSocket(std::string_view blob);
  void Restore(uint64_t key, std::string_view blob, ContainerPtr container);
  // The container of a predecessor's socket.
  static uint64_t ContainerOf(std::string_view blob);

  bool Owns(uint64_t socket) const { return expected_.contains(socket); }
  // A connection that the holder accepted on such a socket.
  void Start(uint64_t socket, uint64_t connection, UniqueFd fd);
  // A predecessor's connection whose socket is gone: the launcher was taken off, and may or may not
  // have been told. `container` is the one whose first process connected.
  void Resume(uint64_t connection, UniqueFd fd, const Container& container);
  // The container is gone.
  void Forget(uint64_t container);

 private:
  struct Expected {
    ContainerPtr container;
    std::optional<sandbox::ObjectId> runtime;  // what its process executes until the launcher does
    std::optional<Loop::Clock::time_point> launched;
  };

  void Guard(uint64_t key);
  void Kill(const Container& container, std::string_view why);
  void Finish(uint64_t key, uint64_t connection, UniqueFd fd, const Status& removed);

  Loop& loop_;
  Holder& holder_;
  HelperPool& helpers_;
  AuditSink& audit_;
  spdlog::logger& log_;
  const Admit admit_;
  std::map<uint64_t, Expected> expected_;  // by the socket's key
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_LAUNCHER_START_H_
