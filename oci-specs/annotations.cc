#include "oci-specs/annotations.h"

#include <array>
#include <string_view>

namespace landgate::oci {
namespace {

constexpr std::string_view kPrefix = "io.landgate.";
constexpr std::string_view kPolicy = "io.landgate.policy";
constexpr std::string_view kMode = "io.landgate.mode";
constexpr size_t kMaxInlinePolicy = size_t{256} << 10;  // the API server's limit for annotations

// Where engines say how the container is called in its pod: containerd's CRI plugin, CRI-O (both of
// its generations), and what dockershim and podman kube carry on.
constexpr std::array<std::string_view, 3> kContainerNameKeys = {
    "io.kubernetes.cri.container-name",
    "io.kubernetes.cri-o.ContainerName",
    "io.kubernetes.container.name",
};
// And the pod: containerd's CRI plugin, CRI-O, podman kube.
constexpr std::array<std::string_view, 3> kPodKeys = {
    "io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name", "io.kubernetes.cri-o.KubeName"};
constexpr std::array<std::string_view, 3> kPodNamespaceKeys = {
    "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace",
    "io.kubernetes.cri-o.Namespace"};
// And that it is the pod's sandbox.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kSandboxMarks = {{
    {"io.kubernetes.cri.container-type", "sandbox"},
    {"io.kubernetes.cri-o.ContainerType", "sandbox"},
    {"io.kubernetes.docker.type", "podsandbox"},
    {"io.kubernetes.container.name", "POD"},
}};

using Map = std::map<std::string, std::string>;

std::string_view ValueOf(const Map& annotations, std::string_view key) {
  const auto found = annotations.find(std::string(key));
  return found == annotations.end() ? std::string_view() : std::string_view(found->second);
}

std::string_view FirstOf(const Map& annotations, const std::array<std::string_view, 3>& keys) {
  for (const std::string_view key : keys) {
    if (const std::string_view name = ValueOf(annotations, key); !name.empty()) return name;
  }
  return "";
}

bool IsSandbox(const Map& annotations) {
  for (const auto& [key, value] : kSandboxMarks) {
    if (ValueOf(annotations, key) == value) return true;
  }
  return false;
}

Failure Wrong(std::string_view key, std::string_view message) {
  return Refuse("annotation " + std::string(key) + ": " + std::string(message));
}

bool IsNameCharacter(char c, bool first) {
  const bool letter_or_digit =
      (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return letter_or_digit || (!first && (c == '.' || c == '_' || c == '-'));
}

bool IsName(std::string_view text) {
  if (text.empty() || text.size() > 128) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsNameCharacter(text[i], i == 0)) return false;
  }
  return true;
}

Status CheckPolicy(std::string_view key, std::string_view value) {
  if (value.empty()) return Wrong(key, "is empty; give a policy's name or a JSON object");
  if (value.front() == '{') {
    if (value.size() > kMaxInlinePolicy) return Wrong(key, "is larger than 256 KiB");
    return {};
  }
  if (IsName(value)) return {};
  return Wrong(key,
               "must be a policy's name (letters, digits, '.', '_', '-', at most 128) or a JSON "
               "object that begins with '{'");
}

Result<Mode> DecodeMode(std::string_view value) {
  if (value == "enforce") return Mode::kEnforce;
  if (value == "audit") return Mode::kAudit;
  if (value == "learn") return Mode::kLearn;
  return Wrong(kMode, "must be enforce, audit or learn");
}

}  // namespace

Result<Annotations> ReadAnnotations(const std::map<std::string, std::string>& annotations) {
  Annotations read;
  const std::string_view container = FirstOf(annotations, kContainerNameKeys);
  const bool sandbox = IsSandbox(annotations);
  const std::string own_key =
      container.empty() ? "" : std::string(kPolicy) + "." + std::string(container);
  for (auto entry = annotations.lower_bound(std::string(kPrefix));
       entry != annotations.end() && entry->first.starts_with(kPrefix); ++entry) {
    const auto& [key, value] = *entry;
    read.any = true;
    if (key == kMode) {
      Result<Mode> mode = DecodeMode(value);
      if (!mode) return Forward(mode);
      read.mode = *mode;
      continue;
    }
    const bool for_one = key.size() > kPolicy.size() + 1 && key.starts_with(kPolicy) &&
                         key[kPolicy.size()] == '.' && IsName(key.substr(kPolicy.size() + 1));
    if (key != kPolicy && !for_one) {
      return Wrong(key,
                   "unknown key; known are io.landgate.policy, io.landgate.policy.CONTAINER and "
                   "io.landgate.mode");
    }
    if (Status ok = CheckPolicy(key, value); !ok) return Forward(ok);
    if (for_one && container.empty() && !sandbox) {
      return Wrong(key,
                   "this engine gives the container no name in its pod, so whom the policy is for "
                   "can't be told; use io.landgate.policy");
    }
    // Ordered by key: the container's own comes after the pod's and so replaces it.
    if (key == kPolicy || key == own_key) {
      read.policy = value;
      read.policy_key = key;
    }
  }
  if (sandbox) {
    read.policy.reset();
    read.policy_key.clear();
    read.mode.reset();
  }
  return read;
}

EngineNames ReadEngineNames(const std::map<std::string, std::string>& annotations) {
  EngineNames names;
  names.pod = FirstOf(annotations, kPodKeys);
  names.pod_namespace = FirstOf(annotations, kPodNamespaceKeys);
  names.container = FirstOf(annotations, kContainerNameKeys);
  return names;
}

}  // namespace landgate::oci
