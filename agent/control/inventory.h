// What the control API and the metrics show of the containers: the serving process implements it
// over its registry. Both calls come from the API's thread only and must not wait for a container:
// no lock that is held while a workload's memory or files are looked at.
#ifndef LANDGATE_AGENT_CONTROL_INVENTORY_H_
#define LANDGATE_AGENT_CONTROL_INVENTORY_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/container.h"
#include "agent/notify/area.h"

namespace landgate::agent {

struct ListenerSnapshot {
  uint64_t key = 0;   // in the holder
  bool main = false;  // the container's own; else an exec session's
  Phase phase = Phase::kRuntime;
  pid_t process = 0;  // tgid that got the filter; 0: not known yet
};

struct ContainerSnapshot {
  ContainerPtr container;  // what was registered; never null
  std::vector<ListenerSnapshot> listeners;
  // Of listeners that are gone and of the living ones together.
  uint64_t denied = 0, asked = 0;
};

class Inventory {
 public:
  virtual ~Inventory() = default;
  // In the order in which they were registered.
  virtual std::vector<ContainerSnapshot> Containers() const = 0;
  virtual std::optional<ContainerSnapshot> Find(const std::string& id) const = 0;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_INVENTORY_H_
