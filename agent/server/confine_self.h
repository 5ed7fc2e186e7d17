// The agent's own confinement: it reads what hostile processes hand it, so it keeps no more rights
// than its work needs. docs/agent.md has the reason of each. Call from the only thread, in this
// order; irreversible, and inherited by what the agent starts (a holder, helpers).
#ifndef LANDGATE_AGENT_SERVER_CONFINE_SELF_H_
#define LANDGATE_AGENT_SERVER_CONFINE_SELF_H_

#include "base/capability_names.h"
#include "base/result.h"
#include "node/config.h"

namespace landgate::agent {

// Policy directories and the directory of sockets: nobody but root and this user may write there.
// Missing ones are no error.
Status CheckOwnDirectories(const node::Config& config);

// What is kept of each set; an ordinary user has none to keep.
CapabilitySet NeededCapabilities();
// Reduces every set, and sets no_new_privs.
Status DropPrivileges();

// An allow-list of system calls; everything else answers EPERM. Not a kill: a library that tries
// something new falls back on an error, and a dead agent would make every container wait.
Status LoadOwnFilter();

// How many descriptors this process may have open.
size_t DescriptorLimit();

// SIGPIPE (a peer that has gone) and SIGXFSZ (a log at RLIMIT_FSIZE) become errno.
void IgnoreWriteSignals();

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_CONFINE_SELF_H_
