// One audit record: what happened to one system call, or to a container. Written as one JSON line
// to the log (audit_log.h), and sent to readers of GET /v1/events (events.h). docs/audit.md is the
// reference; audit.cc has the one table of every word.
//
// Strings come from the workload wherever they can (comm, paths): they are bytes, and the encoder
// alone makes them fit for JSON, a line, and a terminal.
#ifndef LANDGATE_AGENT_AUDIT_H_
#define LANDGATE_AGENT_AUDIT_H_

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "policy/decision.h"

namespace landgate::agent {

// To add a word: here, in the table of audit.cc, in docs/audit.md and audit.schema.json; a test
// compares them.
enum class AuditEvent {
  kAccess,            // "access": one system call
  kExecSession,       // "exec_session": a program that was started into a running container
  kContainerStarted,  // "container_started"; `message` says what of its floor is degraded
  kContainerEnded,    // "container_ended"
  kMaskLost,          // "mask_lost": an object was replaced from outside and its mask with it
  kMaskRestored,      // "mask_restored"
  kListenerRefused,   // "listener_refused": someone else's profile; its calls answer ENOSYS
  kAuditDropped,      // "audit_dropped": `count` records were lost for `reason`
};

enum class AuditVerdict {
  kNone,   // the event decided nothing; left out of the record
  kAllow,  // "allow"
  kDeny,   // "deny"
  kAudit,  // "audit": would have been denied; audit mode let it pass
};

enum class AuditReason {
  kNone,  // left out of the record
  // The policy's: policy::Reason by the same names.
  kRule,
  kNotCovered,
  kInsufficientAccess,
  kProtected,
  kUnsupported,
  kMalformed,
  // The agent's.
  kUserDenied,
  kApprovalTimeout,
  kRateLimited,
  kBackendError,
  kVerificationFailed,
  kExpired,
  kExecSessionUnconfined,
  kMaskLost,
  kBusy,
  // Why records were lost (kAuditDropped).
  kQueueFull,    // more came than could be written
  kDiskFull,     // ENOSPC, EDQUOT, EFBIG
  kWriteFailed,  // everything else: EIO, EROFS, a rotation that failed
};

inline constexpr size_t kAuditEvents = static_cast<size_t>(AuditEvent::kAuditDropped) + 1;
inline constexpr size_t kAuditVerdicts = static_cast<size_t>(AuditVerdict::kAudit) + 1;
inline constexpr size_t kAuditReasons = static_cast<size_t>(AuditReason::kWriteFailed) + 1;

std::string_view AuditEventName(AuditEvent event);
std::string_view AuditVerdictName(AuditVerdict verdict);  // "" for kNone
std::string_view AuditReasonName(AuditReason reason);     // "" for kNone
AuditReason AuditReasonOf(policy::Reason reason);

struct AuditRecord {
  // When it happened; the default is when it was made.
  std::chrono::system_clock::time_point time = std::chrono::system_clock::now();
  AuditEvent event = AuditEvent::kAccess;
  std::string container;  // id
  std::string pod;        // empty: none
  pid_t pid = 0;          // tgid as the agent sees it
  pid_t nspid = 0;        // in its own pid namespace
  std::string comm, exe;
  std::string syscall;         // name
  std::string rights;          // "fs.write_file,fs.truncate", "net.connect_tcp": Landlock's words
  std::string path;            // resolved
  std::string requested_path;  // as the caller gave it, where it differs
  std::string destination;     // "tcp://10.0.0.7:443", "unix:/run/x.sock"
  AuditVerdict verdict = AuditVerdict::kNone;
  AuditReason reason = AuditReason::kNone;
  std::string rule;      // "POLICY#/paths/3"
  std::string message;   // for a person; may be empty
  int error_number = 0;  // what the caller was told; in audit mode what it would have been told
  uint64_t count = 0;    // kAuditDropped; kAccess in audit mode: how often again (repeats.h)
  // From receiving the notification to its answer.
  std::optional<std::chrono::microseconds> latency;
};

// Landlock's words for rights, for AuditRecord::rights: "fs.write_file,fs.truncate" (bits of
// policy/rights.h), "net.connect_tcp".
std::string FsRightsText(uint64_t rights);
std::string NetRightsText(uint64_t rights);

// One line of JSON with its newline: ASCII, so that neither a terminal nor a line-wise reader can
// be fooled. Bytes that are not UTF-8 read U+FFFD, and the field's exact bytes stand beside it in
// hexadecimal ("pathHex"). Pure.
std::string EncodeAudit(const AuditRecord& record);

// Where records go. Never blocks and never fails: what can't be kept is counted. Thread-safe.
class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual void Write(AuditRecord record) = 0;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_AUDIT_H_
