#include <cstring>

#include "base/printable.h"
#include "policy/json_reader.h"
#include "policy/rights.h"
#include "sandbox/compile.h"

namespace landgate::sandbox {
namespace {

using policy::Json;

const char* KindName(MountStepKind kind) {
  switch (kind) {
    case MountStepKind::kMaskFile:
      return "mask-file";
    case MountStepKind::kMaskEmpty:
      return "mask-empty";
    case MountStepKind::kMaskDir:
      return "mask-directory";
    case MountStepKind::kRestrict:
      return "restrict";
    case MountStepKind::kBindBack:
      return "bind-back";
    case MountStepKind::kPin:
      return "pin";
  }
  return "";
}

const char* EnforcementName(Enforcement enforcement) {
  switch (enforcement) {
    case Enforcement::kFull:
      return "full";
    case Enforcement::kPartial:
      return "partial";
    case Enforcement::kNone:
      return "none";
  }
  return "";
}

std::string FlagsText(const MountStep& step) {
  std::string flags;
  const auto add = [&flags](bool set, const char* name) {
    if (!set) return;
    if (!flags.empty()) flags += ',';
    flags += name;
  };
  add(step.read_only, "ro");
  add(step.noexec, "noexec");
  add(step.nodev, "nodev");
  return flags;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

Json LayerJson(const PlannedLayer& layer) {
  Json json = Json::object();
  json["policy"] = layer.name;
  json["handledFs"] = policy::RightNames(layer.handled_fs);
  json["handledNet"] = policy::NetRightNames(layer.handled_net);
  json["scopes"] = policy::ScopeNames(layer.scoped);
  Json paths = Json::array();
  for (const PlannedPath& path : layer.paths) {
    Json entry = Json::object();
    entry["path"] = path.path;
    entry["rights"] = policy::RightNames(path.rights);
    entry["required"] = path.required;
    paths.push_back(std::move(entry));
  }
  json["paths"] = std::move(paths);
  Json ports = Json::array();
  for (const PlannedPort& port : layer.ports) {
    Json entry = Json::object();
    entry["port"] = port.port;
    entry["rights"] = policy::NetRightNames(port.rights);
    ports.push_back(std::move(entry));
  }
  json["ports"] = std::move(ports);
  return json;
}

Json StepJson(const MountStep& step) {
  Json json = Json::object();
  json["kind"] = KindName(step.kind);
  json["path"] = step.path;
  json["rule"] = step.because;
  json["flags"] = FlagsText(step);
  json["device"] =
      std::to_string(step.object.dev_major) + ":" + std::to_string(step.object.dev_minor);
  json["inode"] = step.object.inode;
  return json;
}

Json MeansJson(const Means& means) {
  Json json = Json::object();
  json["policy"] = means.policy;
  json["file"] = means.file;
  json["rule"] = means.rule;
  json["target"] = means.target;
  json["resolved"] = means.resolved;
  json["means"] = means.means;
  json["holds"] = means.holds;
  if (!means.note.empty()) json["note"] = means.note;
  return json;
}

template <class T, class F>
Json List(const std::vector<T>& values, F one) {
  Json list = Json::array();
  for (const T& value : values) list.push_back(one(value));
  return list;
}

std::string ErrnoName(int number) {
  const char* const name = strerrorname_np(number);
  return name ? name : "errno " + std::to_string(number);
}

std::string MeansText(const Means& means) {
  std::string line = Printable(means.file.substr(means.file.rfind('/') + 1)) + " " + means.rule +
                     "  " + Printable(means.target);
  if (!means.resolved.empty() && means.resolved != means.target) {
    line += " -> " + Printable(means.resolved);
  }
  line += "  " + means.means + " (" + means.holds + ")";
  if (!means.note.empty()) line += "; " + Printable(means.note);
  return line + "\n";
}

std::string LayerText(const PlannedLayer& layer) {
  std::string text = "  " + layer.name + ": handles " + policy::DescribeRights(layer.handled_fs);
  if (layer.handled_net != 0) text += ", " + Joined(policy::NetRightNames(layer.handled_net));
  if (layer.scoped != 0) text += "; scopes " + Joined(policy::ScopeNames(layer.scoped));
  text += "\n";
  for (const PlannedPath& path : layer.paths) {
    text += "    " + Printable(path.path) + "  " + policy::DescribeRights(path.rights) + "\n";
  }
  for (const PlannedPort& port : layer.ports) {
    text += "    port " + std::to_string(port.port) + "  " +
            Joined(policy::NetRightNames(port.rights)) + "\n";
  }
  return text;
}

}  // namespace

std::string FloorJson(const Floor& floor) {
  Json json = Json::object();
  json["landlock"] = EnforcementName(floor.landlock);
  json["degraded"] = List(floor.degraded, [](const Degradation& lost) {
    Json entry = Json::object();
    entry["policy"] = lost.policy;
    entry["right"] = lost.right;
    entry["neededAbi"] = lost.needed_abi;
    entry["foundAbi"] = lost.found_abi;
    return entry;
  });
  json["rules"] = List(floor.means, MeansJson);
  json["mounts"] = List(floor.mounts, StepJson);
  json["layers"] = List(floor.plan.layers, LayerJson);
  json["capabilities"] = floor.plan.keep ? Json(CapabilityNames(*floor.plan.keep)) : Json(nullptr);
  json["filter"] = List(floor.filter_rules, [](const FilterRule& rule) {
    Json entry = Json::object();
    entry["syscall"] = rule.syscall;
    entry["condition"] = rule.condition;
    entry["errno"] = rule.error_number;
    entry["because"] = rule.because;
    return entry;
  });
  json["warnings"] = floor.warnings;
  // Names of files are bytes; what is not UTF-8 is replaced, never a reason to fail.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FloorText(const Floor& floor) {
  std::string text = "rules\n";
  for (const Means& means : floor.means) text += "  " + MeansText(means);
  if (!floor.mounts.empty()) {
    text += "masks and pins, in the order in which they are placed\n";
    for (const MountStep& step : floor.mounts) {
      text += "  " + std::string(KindName(step.kind)) + "  " + Printable(step.path);
      const std::string flags = FlagsText(step);
      if (!flags.empty()) text += "  " + flags;
      text += "  " + step.because + "\n";
    }
  }
  text += "landlock: " + std::string(EnforcementName(floor.landlock)) + "\n";
  for (const PlannedLayer& layer : floor.plan.layers) text += LayerText(layer);
  for (const Degradation& lost : floor.degraded) {
    text += "  not held: " + lost.right + " of " + lost.policy + " (needs ABI " +
            std::to_string(lost.needed_abi) + ", found " + std::to_string(lost.found_abi) + ")\n";
  }
  if (floor.plan.keep) {
    const std::string names = Joined(CapabilityNames(*floor.plan.keep));
    text += "capabilities kept: " + (names.empty() ? "none" : names) + "\n";
  }
  text += "filter\n";
  for (const FilterRule& rule : floor.filter_rules) {
    text += "  " + rule.syscall;
    if (!rule.condition.empty()) text += " (" + rule.condition + ")";
    text += "  " + ErrnoName(rule.error_number) + "  " + rule.because + "\n";
  }
  for (const std::string& warning : floor.warnings) text += "warning: " + Printable(warning) + "\n";
  return text;
}

}  // namespace landgate::sandbox
