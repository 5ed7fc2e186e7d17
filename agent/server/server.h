// The serving process: `landgate-agent serve`. From the configuration to the end of the main loop.
#ifndef LANDGATE_AGENT_SERVER_SERVER_H_
#define LANDGATE_AGENT_SERVER_SERVER_H_

#include <spdlog/logger.h>

#include <string>

#include "base/result.h"
#include "node/config.h"

namespace landgate::agent {

// Serves until SIGTERM or SIGINT. What it serves stays with the holder, so containers wait for the
// next agent and nothing of them fails. SIGHUP: opens the audit log again. To be called from the
// only thread. An error means that it has not begun.
Status Serve(const node::Config& config, spdlog::logger& log);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_SERVER_H_
