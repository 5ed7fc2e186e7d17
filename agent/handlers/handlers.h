// Which handler serves a listener: the server chooses by what is registered, handlers/*.cc make
// them.
//
//   no container of this id is registered   MakeRefusingHandler (handlers/refuse.cc)
//   mode enforce                            MakeExecHandler     (handlers/exec.cc)
//   mode audit                              MakeAuditHandler    (handlers/audit.cc)
//
// A handler may keep state of its own, shared by the threads that run it; what must outlive the
// serving process stands in the listener's region or in the holder. Called before the listener's
// first notification is handled; thread-safe.
#ifndef LANDGATE_AGENT_HANDLERS_HANDLERS_H_
#define LANDGATE_AGENT_HANDLERS_HANDLERS_H_

#include <sys/types.h>

#include <cstdint>

#include "agent/container.h"
#include "agent/notify/listener.h"
#include "base/unique_fd.h"

namespace landgate::agent {

enum class ListenerKind : uint32_t {
  kMain = 0,     // the container's first process: the first listener of its container
  kSession = 1,  // an exec session's
};

// What is known of a listener beyond its container.
struct ListenerOrigin {
  ListenerKind kind = ListenerKind::kMain;
  // The process that got the filter, as the runtime names it; 0 where it does not (crun's exec):
  // then it is the tgid of the first notification, which Region::process remembers.
  pid_t process = 0;
  // A predecessor's memfd with the command line of a turned exec session (Kept::kSession);
  // not valid: none was kept.
  UniqueFd session;
  // The listener's, with what a predecessor left in it. Null in tests: nothing was left.
  Region* region = nullptr;
};

Handler MakeExecHandler(const Services& services, const ContainerPtr& container,
                        ListenerOrigin origin);
Handler MakeAuditHandler(const Services& services, const ContainerPtr& container,
                         ListenerOrigin origin);
// ENOSYS for every notification.
Handler MakeRefusingHandler();

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HANDLERS_HANDLERS_H_
