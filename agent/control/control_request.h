// What a request to the control API asks for: its method and target, decoded strictly. Pure.
#ifndef LANDGATE_AGENT_CONTROL_CONTROL_REQUEST_H_
#define LANDGATE_AGENT_CONTROL_CONTROL_REQUEST_H_

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "agent/control/events.h"

namespace landgate::agent {

enum class Endpoint {
  kContainers,  // /v1/containers
  kContainer,   // /v1/containers/ID
  kPolicy,      // /v1/containers/ID/policy
  kEvents,      // /v1/events ?denied=1 &container=ID
  kVersion,     // /v1/version
  kMetrics,     // /metrics
};

// Which endpoints there are on this socket.
enum class Surface { kControl, kMetricsOnly };

struct ControlRequest {
  Endpoint endpoint = Endpoint::kVersion;
  std::string container;  // kContainer, kPolicy
  EventFilter filter;     // kEvents
};

struct ControlError {
  unsigned status;      // HTTP
  std::string message;  // UTF-8, one line
};

// `target` as it came: path, percent-encoded, and query. 404: no such path; 405: the path is there
// and takes GET (and HEAD) only; 400: bad encoding, or a query that this endpoint does not take.
tl::expected<ControlRequest, ControlError> ParseControlRequest(std::string_view method,
                                                               std::string_view target,
                                                               Surface surface);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_CONTROL_REQUEST_H_
