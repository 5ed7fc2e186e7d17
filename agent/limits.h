// Every resource that a container, or a peer on a socket, can fill: its limit, in one place.
#ifndef LANDGATE_AGENT_LIMITS_H_
#define LANDGATE_AGENT_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace landgate::agent {

// Notifications of one listener that are being handled at the same time. What exceeds it is denied
// at once (EAGAIN, reason `busy`), so that receiving never stops. Less than kSlotsPerListener.
inline constexpr uint32_t kMaxInFlightPerListener = 48;
// A read of a workload's memory that takes longer is given up and the call denied.
inline constexpr std::chrono::milliseconds kMemoryDeadline{2000};
// Listeners of one container (its process, its exec sessions, …) at a time.
inline constexpr uint32_t kMaxListenersPerContainer = 512;

inline constexpr size_t kMaxContainers = 8192;
// Listeners of containers that nobody registered, which are answered ENOSYS. More are closed, after
// which the kernel answers the same.
inline constexpr size_t kMaxForeignListeners = 64;

// The socket of runtimes and hooks.
inline constexpr size_t kMaxStateBytes = size_t{8} << 20;
inline constexpr size_t kMaxStateFds = 64;  // the kernel's own limit is SCM_MAX_FD, 253
inline constexpr size_t kMaxConnections = 1024;
inline constexpr size_t kMaxSpools = 64;  // messages too long to be looked at in their sockets
// A hook waits for its answer; a runtime may hold an idle connection for ever.
inline constexpr std::chrono::seconds kHookPatience{10};

// Exec sessions that are turned to the launcher.
inline constexpr size_t kMaxCommandLineBytes = size_t{4} << 20;  // argv and environment: E2BIG
inline constexpr std::chrono::seconds kTurnPatience{5};          // until the launcher has asked

// The holder. Descriptors are its real limit: what it keeps is bounded by RLIMIT_NOFILE less the
// reserve, which stays free for the serving process's own connection.
inline constexpr size_t kMaxHeldObjects = size_t{1} << 18;
inline constexpr size_t kHolderReservedFds = 64;
inline constexpr size_t kMaxHeldConnections = 2 * kMaxConnections;  // more wait in the backlog
inline constexpr size_t kMaxHolderPeers = 16;  // serving processes and those that want to be
inline constexpr std::chrono::seconds kHolderPeerPatience{10};  // until a peer says what it wants
inline constexpr std::chrono::seconds kHolderIdle{
    10};  // nothing held for a container, nobody connected
// A predecessor that was killed is still there for a moment.
inline constexpr std::chrono::milliseconds kPredecessorPatience{1000};
// The serving process waits this long for an answer of the holder.
inline constexpr std::chrono::seconds kHolderPatience{10};

// Helpers: processes that perform operations (helper.h).
inline constexpr size_t kMaxHelpers = 512;
inline constexpr size_t kMaxHelpersPerOwner = 32;  // of one container
inline constexpr size_t kIdleHelpers = 4;          // kept for the next operation
inline constexpr size_t kMaxHelperRequestBytes = 16384;
inline constexpr size_t kMaxHelperFds = 16;

// The control socket.
inline constexpr unsigned kMaxControlConnections = 64;
inline constexpr size_t kMaxControlRequestBytes = 65536;
// A request must have come, and its answer must have been read, within this time; a reader of
// events must read something.
inline constexpr unsigned kControlTimeoutSeconds = 30;
inline constexpr size_t kEventBacklog = 1024;  // records that a slow reader of /v1/events may lag
// Readers of events at a time: fewer than connections, so that they can't lock others out.
inline constexpr unsigned kMaxEventReaders = 32;
inline constexpr unsigned kMaxMetricsConnections = 16;  // of the TCP listener

// The audit log: records that wait for the disk. More are counted as dropped.
inline constexpr size_t kAuditQueueRecords = 8192;
inline constexpr size_t kAuditQueueBytes = size_t{8} << 20;  // of their texts

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_LIMITS_H_
