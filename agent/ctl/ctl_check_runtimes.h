// `check`: the OCI runtimes of this machine, by starting tiny containers with them.
//
// The root file system of a trial is landgate-init alone: a static program that can say its
// version, so neither an image nor a shell is needed. Everything lies in a directory of its own
// beneath TMPDIR and is removed; containers' state is kept there too (--root), away from the
// engines'.
#ifndef LANDGATE_AGENT_CTL_CTL_CHECK_RUNTIMES_H_
#define LANDGATE_AGENT_CTL_CTL_CHECK_RUNTIMES_H_

#include <optional>
#include <string>

#include "agent/ctl/ctl_report.h"

namespace landgate::ctl {

struct RuntimeTrials {
  std::optional<std::string> configured;  // `runtime` of config.json
  std::string launcher;                   // landgate-init
  std::string program_directory;          // where landgate-runtime lies
};

// At least one runtime (the configured one where there is one) must start a container, send a
// listener, and hold a policy's floor; what fails with the others is a warning.
Section CheckRuntimes(const RuntimeTrials& trials);

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_CHECK_RUNTIMES_H_
