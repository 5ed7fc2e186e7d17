#include "agent/control/metrics_text.h"

#include <dirent.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"

namespace landgate::agent {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kNanosecondsPerSecond = 1e9;

MetricFamily& Family(std::vector<MetricFamily>& families, const char* name, const char* help,
                     MetricType type) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  families.push_back(std::move(family));
  return families.back();
}

using Labels = std::vector<ClientMetric::Label>;

void AddCounter(MetricFamily& family, double value, Labels labels = {}) {
  ClientMetric metric;
  metric.counter.value = value;
  metric.label = std::move(labels);
  family.metric.push_back(std::move(metric));
}
void AddGauge(MetricFamily& family, double value, Labels labels = {}) {
  ClientMetric metric;
  metric.gauge.value = value;
  metric.label = std::move(labels);
  family.metric.push_back(std::move(metric));
}

struct CounterRow {
  const char* name;
  const char* help;
  Metrics::Counter Metrics::Shard::*counter;
};
constexpr CounterRow kCounters[] = {
    {"landgate_notifications_received_total",
     "System calls of containers that the kernel notified, replayed ones included.",
     &Metrics::Shard::received},
    {"landgate_notifications_gone_total",
     "Answers whose caller was not waiting any more: it died, or a signal interrupted it.",
     &Metrics::Shard::gone},
    {"landgate_notifications_replayed_total",
     "Notifications that a predecessor of this process left, handled again.",
     &Metrics::Shard::replayed},
    {"landgate_notifications_replayed_stale_total",
     "Notifications that a predecessor left whose caller was gone.",
     &Metrics::Shard::replayed_stale},
    {"landgate_listener_stand_ins_total",
     "Times that another thread went on receiving while one was held up.",
     &Metrics::Shard::stood_in},
    {"landgate_listener_threads_started_total", "Threads that were started for listeners.",
     &Metrics::Shard::threads_started},
    {"landgate_receive_errors_total", "Unexpected errors of receiving a notification.",
     &Metrics::Shard::receive_errors},
};

struct LabelledRow {
  const char* label;
  Metrics::Counter Metrics::Shard::*counter;
};
constexpr LabelledRow kAnswers[] = {
    {"continue", &Metrics::Shard::continued},
    {"errno", &Metrics::Shard::denied},
    {"value", &Metrics::Shard::returned},
    {"fd", &Metrics::Shard::returned_fd},
};
constexpr LabelledRow kOverloads[] = {
    {"busy", &Metrics::Shard::busy},
    {"expired", &Metrics::Shard::expired},
    {"invisible", &Metrics::Shard::invisible},
    {"backend_error", &Metrics::Shard::failed},
};

void AddNotifications(std::vector<MetricFamily>& families, const Metrics& metrics) {
  for (const CounterRow& row : kCounters) {
    AddCounter(Family(families, row.name, row.help, MetricType::Counter),
               static_cast<double>(metrics.Sum(row.counter)));
  }
  MetricFamily& answers = Family(families, "landgate_notifications_answered_total",
                                 "Answers by what was answered.", MetricType::Counter);
  for (const LabelledRow& row : kAnswers) {
    AddCounter(answers, static_cast<double>(metrics.Sum(row.counter)), {{"answer", row.label}});
  }
  MetricFamily& overloads =
      Family(families, "landgate_notifications_undecided_total",
             "Denied without a decision: too many in hand, memory that could not be read in time, "
             "a caller in no visible pid namespace, or out of memory.",
             MetricType::Counter);
  for (const LabelledRow& row : kOverloads) {
    AddCounter(overloads, static_cast<double>(metrics.Sum(row.counter)), {{"reason", row.label}});
  }
  AddGauge(
      Family(families, "landgate_listeners", "Listeners that are served now.", MetricType::Gauge),
      static_cast<double>(metrics.listeners.load(std::memory_order_relaxed)));
  AddGauge(Family(families, "landgate_listener_threads", "Threads that serve listeners now.",
                  MetricType::Gauge),
           static_cast<double>(metrics.threads.load(std::memory_order_relaxed)));
}

void AddLatency(std::vector<MetricFamily>& families, const Metrics& metrics) {
  MetricFamily& family =
      Family(families, "landgate_notification_seconds",
             "From receiving a notification to its answer.", MetricType::Histogram);
  ClientMetric metric;
  uint64_t cumulative = 0;
  for (size_t i = 0; i <= kLatencyBounds.size(); ++i) {
    cumulative += metrics.LatencyBucket(i);
    ClientMetric::Bucket bucket;
    bucket.cumulative_count = cumulative;
    bucket.upper_bound = i < kLatencyBounds.size()
                             ? static_cast<double>(kLatencyBounds[i]) / kNanosecondsPerSecond
                             : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back(bucket);
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum =
      static_cast<double>(metrics.Sum(&Metrics::Shard::latency_sum)) / kNanosecondsPerSecond;
  family.metric.push_back(std::move(metric));
}

void AddAudit(std::vector<MetricFamily>& families, const AuditLog& audit) {
  if (const std::vector<AuditCount> counts = audit.Counts(); !counts.empty()) {
    MetricFamily& records =
        Family(families, "landgate_audit_records_total",
               "Audit records by event, verdict and reason; docs/audit.md names them.",
               MetricType::Counter);
    for (const AuditCount& count : counts) {
      AddCounter(records, static_cast<double>(count.count),
                 {{"event", std::string(AuditEventName(count.event))},
                  {"verdict", std::string(AuditVerdictName(count.verdict))},
                  {"reason", std::string(AuditReasonName(count.reason))}});
    }
  }
  const AuditDrops drops = audit.Drops();
  MetricFamily& dropped =
      Family(families, "landgate_audit_dropped_total",
             "Audit records that are not in the log, by why they were lost.", MetricType::Counter);
  AddCounter(dropped, static_cast<double>(drops.queue_full), {{"reason", "queue_full"}});
  AddCounter(dropped, static_cast<double>(drops.disk_full), {{"reason", "disk_full"}});
  AddCounter(dropped, static_cast<double>(drops.write_failed), {{"reason", "write_failed"}});
}

void AddContainers(std::vector<MetricFamily>& families, const Inventory& inventory) {
  uint64_t enforced = 0;
  uint64_t audited = 0;
  for (const ContainerSnapshot& snapshot : inventory.Containers()) {
    ++(snapshot.container->registration.mode == oci::Mode::kEnforce ? enforced : audited);
  }
  MetricFamily& containers = Family(
      families, "landgate_containers",
      "Containers that are registered; nothing is enforced in mode audit.", MetricType::Gauge);
  AddGauge(containers, static_cast<double>(enforced), {{"mode", "enforce"}});
  AddGauge(containers, static_cast<double>(audited), {{"mode", "audit"}});
}

std::optional<uint64_t> OpenDescriptors() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), closedir);
  if (!directory) return std::nullopt;
  uint64_t count = 0;
  while (const dirent* entry = readdir(directory.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  return count - 1;  // the directory itself
}

// Names of the Prometheus client guidelines, which dashboards know.
void AddProcess(std::vector<MetricFamily>& families) {
  struct rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const struct timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    AddCounter(Family(families, "process_cpu_seconds_total", "Processor time of the agent.",
                      MetricType::Counter),
               seconds(usage.ru_utime) + seconds(usage.ru_stime));
  }
  unsigned long pages = 0;
  const Result<std::string> statm = ReadFile("/proc/self/statm", 4096);
  // NOLINTNEXTLINE(cert-err34-c): the kernel's own text, whose numbers fit
  if (statm && sscanf(statm->c_str(), "%*u %lu", &pages) == 1) {
    AddGauge(Family(families, "process_resident_memory_bytes", "Resident memory of the agent.",
                    MetricType::Gauge),
             static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  }
  if (const std::optional<uint64_t> open = OpenDescriptors()) {
    AddGauge(
        Family(families, "process_open_fds", "Open descriptors of the agent.", MetricType::Gauge),
        static_cast<double>(*open));
  }
  struct rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    AddGauge(Family(families, "process_max_fds", "Most descriptors that the agent may open.",
                    MetricType::Gauge),
             static_cast<double>(limit.rlim_cur));
  }
}

}  // namespace

std::string MetricsText(const MetricsSources& sources) {
  std::vector<MetricFamily> families;
  MetricFamily& build = Family(families, "landgate_build_info",
                               "1; the label says which version runs.", MetricType::Gauge);
  AddGauge(build, 1, {{"version", LANDGATE_VERSION}});
  AddNotifications(families, *sources.metrics);
  AddLatency(families, *sources.metrics);
  AddAudit(families, *sources.audit);
  AddContainers(families, *sources.inventory);
  AddProcess(families);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace landgate::agent
