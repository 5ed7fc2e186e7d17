// The file of the audit log: opened safely, grown by whole lines, rotated at a size. For one
// thread.
#ifndef LANDGATE_AGENT_CONTROL_AUDIT_FILE_H_
#define LANDGATE_AGENT_CONTROL_AUDIT_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class AuditFile {
 public:
  // `max_bytes` > 0. Refuses a symlink, anything that is no regular file with one name, and a file
  // or directory that others own or can write.
  static Result<AuditFile> Open(std::string path, uint64_t max_bytes, unsigned keep);

  // Appends whole lines: all of them or none. Rotates first where they would not fit. Error_number
  // of a failure: ENOSPC, EDQUOT, EFBIG (RLIMIT_FSIZE; SIGXFSZ must be blocked or ignored), EIO, …
  Status Append(std::string_view lines);
  // The file that has this name now; the old one is kept where that fails.
  Status Reopen();

  const std::string& path() const { return path_; }

 private:
  AuditFile(std::string path, uint64_t max_bytes, unsigned keep)
      : path_(std::move(path)), max_bytes_(max_bytes), keep_(keep) {}
  Status OpenFile();
  Status WriteWhole(std::string_view lines);
  Status Rotate();
  std::string Name(unsigned generation) const;

  std::string path_;
  uint64_t max_bytes_;
  unsigned keep_;
  UniqueFd directory_, file_;
  uint64_t size_ = 0;
  bool torn_ = false;  // it ends in the middle of a line, which has to be ended first
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_AUDIT_FILE_H_
