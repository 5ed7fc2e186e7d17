// Containers as the control API shows them. docs/control-api.md names every field. Pure, but for
// the clock that a start time is counted from.
#ifndef LANDGATE_AGENT_CONTROL_CONTROL_JSON_H_
#define LANDGATE_AGENT_CONTROL_CONTROL_JSON_H_

#include "agent/control/inventory.h"
#include "policy/json_reader.h"

namespace landgate::agent {

policy::Json ContainersJson(const std::vector<ContainerSnapshot>& containers);
policy::Json ContainerJson(const ContainerSnapshot& container);
policy::Json ContainerPolicyJson(const ContainerSnapshot& container);
policy::Json VersionJson();

// As the API sends it: ASCII, one line. Bytes that are not UTF-8 read U+FFFD.
std::string JsonText(const policy::Json& json);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_CONTROL_JSON_H_
