// The audit log: records as JSON lines in a file, written by a thread of its own.
//
// Write never waits for the disk: it puts the record into a bounded queue. What does not fit, or
// can't be written, is dropped and counted by its reason, and as soon as something can be written
// again a record (`audit_dropped`) says how many were lost. A line is in the file whole or not at
// all. Every record goes to the readers of events as well, whether the disk takes it or not.
//
// The file is opened by descriptor of its directory, never through a symlink; it must be a regular
// file with one name, owned by this process's user or root, that nobody else can write. At
// `max_bytes` it becomes FILE.1, FILE.1 becomes FILE.2, and so on up to `keep`. An administrator's
// logrotate renames and sends SIGHUP: Reopen.
//
// A full disk, EIO and RLIMIT_FSIZE (whose signal the thread blocks) are survived and counted.
// Thread-safe.
#ifndef LANDGATE_AGENT_CONTROL_AUDIT_LOG_H_
#define LANDGATE_AGENT_CONTROL_AUDIT_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/audit.h"
#include "agent/control/events.h"
#include "base/result.h"

namespace landgate::agent {

struct AuditLogOptions {
  std::string file;
  uint64_t max_bytes = uint64_t{64} << 20;
  unsigned keep = 4;         // rotated files beside the current one
  Events* events = nullptr;  // outlives the log; null: none
  // Told, from the writing thread, when writing begins to fail and when it works again; one line.
  std::function<void(const std::string&)> complain;
};

// Records lost since the start, by reason.
struct AuditDrops {
  uint64_t queue_full = 0, disk_full = 0, write_failed = 0;
};

// Records given to Write since the start, whether they were kept or not.
struct AuditCount {
  AuditEvent event;
  AuditVerdict verdict;
  AuditReason reason;
  uint64_t count;  // not 0
};

class AuditLog : public AuditSink {
 public:
  // Makes the directory (0750) and the file (0600) where they are missing. A file that can't be
  // opened safely is an error: an agent that can't write its log does not start.
  static Result<std::unique_ptr<AuditLog>> Open(AuditLogOptions options);
  ~AuditLog() override;  // writes what is queued

  void Write(AuditRecord record) override;
  // SIGHUP: opens the file of that name again before the next record. Where that fails the old one
  // is kept, and it is tried again with every record. Does not wait.
  void Reopen();
  // Waits until everything that was written before this call is in the file or counted.
  void Flush();
  AuditDrops Drops() const;
  std::vector<AuditCount> Counts() const;

 private:
  class Impl;
  explicit AuditLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_AUDIT_LOG_H_
