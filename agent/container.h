// One container that the agent serves, as its prestart hook registered it. What is registered never
// changes; counters do. Shared by its listeners; thread-safe.
#ifndef LANDGATE_AGENT_CONTAINER_H_
#define LANDGATE_AGENT_CONTAINER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "node/registration.h"
#include "policy/decide_path.h"

namespace landgate::agent {

struct Container {
  explicit Container(node::Registration registered) : registration(std::move(registered)) {
    path_rules.reserve(registration.policies.size());
    for (const policy::Policy& policy : registration.policies) path_rules.emplace_back(policy);
  }
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  const std::string& id() const { return registration.id; }

  const node::Registration registration;
  std::vector<policy::PathRules> path_rules;  // as written; one per policy, all must allow
  uint64_t key = 0;                           // in the holder; never used twice
  UniqueFd process;                           // pidfd of its first process
  UniqueFd mount_namespace;
  std::atomic<uint32_t> listeners{0};
  std::atomic<bool> main_listener_seen{false};
  // Of listeners that are gone; the living ones count in their regions.
  std::atomic<uint64_t> denied{0}, asked{0};
};

using ContainerPtr = std::shared_ptr<Container>;

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTAINER_H_
