// The text of /metrics: what the agent counts (metrics.h, the audit log) and how things stand, in
// the Prometheus text format 0.0.4, written by prometheus-cpp. docs/control-api.md has the table of
// names. Thread-safe.
#ifndef LANDGATE_AGENT_CONTROL_METRICS_TEXT_H_
#define LANDGATE_AGENT_CONTROL_METRICS_TEXT_H_

#include <string>

#include "agent/control/audit_log.h"
#include "agent/control/inventory.h"
#include "agent/notify/metrics.h"

namespace landgate::agent {

struct MetricsSources {
  const Metrics* metrics = nullptr;
  const AuditLog* audit = nullptr;
  const Inventory* inventory = nullptr;
};

// What /proc/self does not tell is left out.
std::string MetricsText(const MetricsSources& sources);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_METRICS_TEXT_H_
