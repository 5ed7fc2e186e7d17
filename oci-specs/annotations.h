// The io.landgate.* annotations of a container. Pure; thread-safe.
#ifndef LANDGATE_OCI_SPECS_ANNOTATIONS_H_
#define LANDGATE_OCI_SPECS_ANNOTATIONS_H_

#include <map>
#include <optional>
#include <string>

#include "base/result.h"

namespace landgate::oci {

enum class Mode { kEnforce, kAudit, kLearn };

struct Annotations {
  bool any = false;                   // an io.landgate.* key is present
  std::optional<std::string> policy;  // a name, or text that begins with '{'
  std::string policy_key;             // the key it came from, for messages
  std::optional<Mode> mode;
};

// `io.landgate.policy.CONTAINER` beats `io.landgate.policy` where CONTAINER is this container's
// name in its pod (annotations io.kubernetes.cri.container-name, io.kubernetes.container.name,
// io.kubernetes.cri-o.ContainerName, or io.podman… where the engine sets one); entries for other
// containers of the pod are skipped, and refused where the engine names no container, because whom
// they are for can't be told then. A sandbox (pause) container takes no policy from a pod's
// annotation. Unknown io.landgate.* keys, empty and malformed values are refused by name.
Result<Annotations> ReadAnnotations(const std::map<std::string, std::string>& annotations);

// How the engine calls the container, as far as it says so in annotations; for people and logs.
struct EngineNames {
  std::string pod, pod_namespace, container;
};
EngineNames ReadEngineNames(const std::map<std::string, std::string>& annotations);

}  // namespace landgate::oci

#endif  // LANDGATE_OCI_SPECS_ANNOTATIONS_H_
