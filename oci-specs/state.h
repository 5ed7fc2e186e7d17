// The OCI state that a runtime writes to a hook's stdin, and the ContainerProcessState of the
// seccomp listener protocol (runtime-spec 1.1, "Seccomp Listener"). Strict about what we use, deaf
// to the rest. Pure; thread-safe.
#ifndef LANDGATE_OCI_SPECS_STATE_H_
#define LANDGATE_OCI_SPECS_STATE_H_

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace landgate::oci {

struct State {
  std::string id;  // fit to be a file name: [A-Za-z0-9_.+-]{1,255}, not . or ..
  std::string status;
  pid_t pid = 0;  // 0: not given
  std::string bundle;
  std::map<std::string, std::string> annotations;
};
Result<State> DecodeState(std::string_view json, std::string_view source);

struct ContainerProcessState {
  std::vector<std::string> fds;  // names, in the order of the SCM_RIGHTS array
  pid_t pid = 0;
  std::string metadata;
  State state;
};
Result<ContainerProcessState> DecodeContainerProcessState(std::string_view json);

bool IsContainerId(std::string_view id);

}  // namespace landgate::oci

#endif  // LANDGATE_OCI_SPECS_STATE_H_
