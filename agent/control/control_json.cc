#include "agent/control/control_json.h"

#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "policy/document_encode.h"

namespace landgate::agent {
namespace {

using policy::Json;

std::string_view ModeName(oci::Mode mode) {
  switch (mode) {
    case oci::Mode::kEnforce:
      return "enforce";
    case oci::Mode::kAudit:
      return "audit";
    case oci::Mode::kLearn:
      return "learn";
  }
  return "";
}

std::string_view ExecSessionsName(policy::ExecSessions sessions) {
  switch (sessions) {
    case policy::ExecSessions::kUnconfined:
      return "unconfined";
    case policy::ExecSessions::kConfined:
      return "confined";
    case policy::ExecSessions::kRefused:
      return "refused";
  }
  return "";
}

std::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kRuntime:
      return "runtime";
    case Phase::kLauncher:
      return "launcher";
    case Phase::kWorkload:
      return "workload";
  }
  return "";
}

// What was compiled when the container started; null where it has no floor (audit mode).
Json FloorOf(const node::Registration& registration) {
  if (registration.floor_json.empty()) return nullptr;
  Result<Json> floor =
      policy::ParseJson(registration.floor_json, "floor", policy::Comments::kRefused);
  return floor && floor->is_object() ? std::move(*floor) : Json(nullptr);
}

Json Member(const Json& object, const char* key, Json otherwise) {
  if (!object.is_object()) return otherwise;
  const auto found = object.find(key);
  return found == object.end() ? otherwise : *found;
}

// Since boot, in clock ticks, to a date.
std::string StartTime(uint64_t ticks) {
  if (ticks == 0) return "";
  struct timespec boot = {};
  (void)clock_gettime(CLOCK_BOOTTIME, &boot);  // always there since Linux 2.6.39
  const auto second = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  const time_t started =
      time(nullptr) - boot.tv_sec + static_cast<time_t>(ticks / (second == 0 ? 100 : second));
  struct tm utc = {};
  char text[40];
  if (gmtime_r(&started, &utc) == nullptr) return "";
  return std::string(text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc));
}

Json Summary(const ContainerSnapshot& snapshot, const Json& floor) {
  const node::Registration& registration = snapshot.container->registration;
  std::string joined;
  Json names = Json::array();
  for (const policy::Policy& policy : registration.policies) {
    joined += (joined.empty() ? "" : ", ") + policy.name;
    names.push_back(policy.name);
  }
  Json json;
  json["id"] = registration.id;
  json["policy"] = std::move(joined);
  json["policies"] = std::move(names);
  json["mode"] = ModeName(registration.mode);
  json["floor"] = Member(floor, "landlock", "none");
  json["degraded"] = Member(floor, "degraded", Json::array());
  json["listeners"] = snapshot.listeners.size();
  json["denied"] = snapshot.denied;
  json["asked"] = snapshot.asked;
  json["pod"] = registration.pod;
  json["podNamespace"] = registration.pod_namespace;
  json["name"] = registration.container_name;
  json["pid"] = registration.pid;
  json["started"] = StartTime(registration.start_time);
  return json;
}

}  // namespace

Json ContainersJson(const std::vector<ContainerSnapshot>& containers) {
  Json list = Json::array();
  for (const ContainerSnapshot& container : containers) {
    list.push_back(Summary(container, FloorOf(container.container->registration)));
  }
  return Json::object({{"containers", std::move(list)}});
}

Json ContainerJson(const ContainerSnapshot& snapshot) {
  const node::Registration& registration = snapshot.container->registration;
  Json floor = FloorOf(registration);
  Json json = Summary(snapshot, floor);
  json["bundle"] = registration.bundle;
  json["root"] = registration.root;
  json["frontEnd"] = registration.front_end;
  json["execSessions"] = ExecSessionsName(registration.exec_sessions);
  Json listeners = Json::array();
  for (const ListenerSnapshot& listener : snapshot.listeners) {
    Json entry;
    entry["kind"] = listener.main ? "container" : "execSession";
    entry["phase"] = PhaseName(listener.phase);
    entry["pid"] = listener.process;
    listeners.push_back(std::move(entry));
  }
  json["listenerList"] = std::move(listeners);
  json["enforcement"] = std::move(floor);
  return json;
}

Json ContainerPolicyJson(const ContainerSnapshot& snapshot) {
  Json list = Json::array();
  for (const policy::Policy& policy : snapshot.container->registration.policies) {
    Json entry;
    entry["name"] = policy.name;
    entry["file"] = policy.file;
    entry["policy"] = policy::EncodePolicy(policy);
    list.push_back(std::move(entry));
  }
  return Json::object({{"id", snapshot.container->id()}, {"policies", std::move(list)}});
}

Json VersionJson() { return Json::object({{"version", LANDGATE_VERSION}, {"api", "v1"}}); }

std::string JsonText(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace landgate::agent
