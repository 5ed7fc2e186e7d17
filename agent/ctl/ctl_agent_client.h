// landgatectl's side of the control API (docs/control-api.md): HTTP over the agent's control
// socket, by libcurl.
#ifndef LANDGATE_AGENT_CTL_CTL_AGENT_CLIENT_H_
#define LANDGATE_AGENT_CTL_CTL_AGENT_CLIENT_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "node/config.h"
#include "policy/json_reader.h"

namespace landgate::ctl {

// Where the agent is to be found: `given` (--socket), else the configuration's control socket.
struct AgentPlace {
  std::string socket;
  bool rootless = false;  // for the message that says what to start
};
Result<AgentPlace> FindAgent(const std::optional<std::string>& given,
                             const std::function<Result<node::Config>()>& config);

// GET TARGET. Impossible: no agent, and what to start. Refuse: not permitted, or what the agent
// says about the request.
Result<policy::Json> AskAgent(const AgentPlace& agent, const std::string& target);

// GET TARGET without an end: `take` gets the bytes as they come, until it returns false (then this
// is a success) or the agent ends (Impossible).
Status FollowAgent(const AgentPlace& agent, const std::string& target,
                   const std::function<bool(std::string_view)>& take);

// For one component of a target's path, or a value of its query.
std::string PercentEncoded(std::string_view text);

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_AGENT_CLIENT_H_
