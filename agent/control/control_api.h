// The control API: HTTP on the control socket, so that `curl --unix-socket` works, and /metrics on
// a TCP address where the configuration names one. docs/control-api.md is the reference.
//
// Who may talk is decided by the socket's owner and mode (control_socket.h). One thread serves all
// connections without ever waiting for one of them: a client that stops reading, or sends its
// request byte by byte, delays nobody and is cut off (limits.h). The server is libmicrohttpd in an
// event loop of ours, because only so a reader of events that has gone is noticed at once.
#ifndef LANDGATE_AGENT_CONTROL_CONTROL_API_H_
#define LANDGATE_AGENT_CONTROL_CONTROL_API_H_

#include <functional>
#include <memory>
#include <string>

#include "agent/control/events.h"
#include "agent/control/inventory.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

// What the API shows. Everything outlives it; all are called from its thread only.
struct ControlSources {
  const Inventory* inventory = nullptr;
  Events* events = nullptr;
  std::function<std::string()> metrics;  // the text of /metrics (metrics_text.h)
};

class ControlApi {
 public:
  // `control` is a listening UNIX socket; `metrics` a listening TCP socket, or not valid for none.
  static Result<std::unique_ptr<ControlApi>> Start(UniqueFd control, UniqueFd metrics,
                                                   ControlSources sources);
  // Closes the sockets and every connection, and joins the thread.
  ~ControlApi();

 private:
  class Impl;
  explicit ControlApi(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_CONTROL_API_H_
