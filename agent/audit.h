// One audit record: what happened to one system call, or to a container. Written as one JSON line
// to the log, and sent to readers of GET /v1/events. docs/audit.md is the reference.
#ifndef LANDGATE_AGENT_AUDIT_H_
#define LANDGATE_AGENT_AUDIT_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace landgate::agent {

struct AuditRecord {
  std::chrono::system_clock::time_point time;
  std::string event;      // "access", "exec_session", "container_started", "container_ended",
                          // "mask_lost", "mask_restored", "listener_refused"
  std::string container;  // id
  std::string pod;        // empty: none
  pid_t pid = 0;          // tgid as the agent sees it
  pid_t nspid = 0;        // in its own pid namespace
  std::string comm, exe;
  std::string syscall;         // name
  std::string rights;          // "fs.write_file,fs.truncate", "net.connect_tcp": Landlock's words
  std::string path;            // resolved
  std::string requested_path;  // as the caller gave it, where it differs
  std::string destination;
  std::string verdict;  // "allow", "deny", "audit" (would have been denied)
  std::string reason;   // an enum of names: policy::ReasonName, or one of the agent's own
  std::string rule;     // "POLICY#/paths/3"
  std::string message;  // for a person; may be empty
  int error_number = 0;
  uint64_t latency_us = 0;
};

// Where records go. Never blocks and never fails: what can't be kept is counted. Thread-safe.
class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual void Write(AuditRecord record) = 0;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_AUDIT_H_
