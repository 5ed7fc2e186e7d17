// Refuses exec sessions where nobody of ours sees them: a hook without landgate-runtime.
//
// The patched config.json has a seccomp notify rule on a system call that no kernel implements, and
// names a socket. A runtime that starts a process of the container connects to it, and fails when
// nobody listens. So a daemon listens exactly once, for the creation: it accepts one connection,
// takes the socket away, reads what the runtime sends to its end and ends. Descriptors received are
// closed at once (the notified call then answers ENOSYS, as it does natively); reading goes on,
// because a runtime that can't finish writing fails.
//
// runc connects after the prestart hooks, crun before them: so podman's precreate starts the
// daemon, and for an injected bundle prestart does (which serves runc only).
#ifndef LANDGATE_HOOK_EXEC_REFUSAL_H_
#define LANDGATE_HOOK_EXEC_REFUSAL_H_

#include <chrono>
#include <string>

#include "base/result.h"

namespace landgate::hook {

// A container whose runtime has not connected by then is not going to.
inline constexpr std::chrono::seconds kExecRefusalPatience{60};

// Binds the socket (0600, replacing a stale one) and leaves the daemon behind: of its own session,
// in
// /, without any descriptor of the caller's. It holds one fixed buffer and always ends: after
// `patience` without a connection, or when the connection's other end is gone.
// The caller must be single threaded. When this returns, the socket accepts connections.
Status StartExecRefusal(const std::string& socket_path, std::chrono::milliseconds patience);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_EXEC_REFUSAL_H_
