// `check`: landgate's own files on this node, and the engines that are to use them.
#ifndef LANDGATE_AGENT_CTL_CTL_CHECK_NODE_H_
#define LANDGATE_AGENT_CTL_CTL_CHECK_NODE_H_

#include "agent/ctl/ctl_report.h"
#include "base/result.h"
#include "node/config.h"

namespace landgate::ctl {

// Configuration, launcher, programs, policies, run directory. `config` may be an error: then that
// is the finding.
Section CheckNode(const Result<node::Config>& config);

// podman, Docker, containerd, CRI-O: whether they are here and send containers our way.
Section CheckEngines();

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_CHECK_NODE_H_
