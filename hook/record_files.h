// The files of a container's record (record.h) as prestart makes them: opened before the process
// leaves the host's mount namespace and written from within the container's. Takes everything away
// again unless it was completed. Not thread-safe.
#ifndef LANDGATE_HOOK_RECORD_FILES_H_
#define LANDGATE_HOOK_RECORD_FILES_H_

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::hook {

class RecordFiles {
 public:
  RecordFiles(std::string run_dir, std::string id)
      : run_dir_(std::move(run_dir)), id_(std::move(id)) {}
  RecordFiles(const RecordFiles&) = delete;
  RecordFiles& operator=(const RecordFiles&) = delete;
  ~RecordFiles();

  // The directory. Refused: a living container has it.
  Status Open();
  Status OpenPlan();
  std::string plan_path() const;
  BorrowedFd plan() const { return plan_; }
  Status Write(const char* name, std::string_view bytes);
  // The socket to which the launcher connects, from within the container and as any user.
  Result<UniqueFd> ListenForLauncher();
  std::string launcher_socket_path() const;
  void Complete() { completed_ = true; }

 private:
  Result<UniqueFd> Create(const char* name, mode_t mode);

  const std::string run_dir_;
  const std::string id_;
  UniqueFd parent_;
  UniqueFd directory_;
  UniqueFd plan_;
  bool completed_ = false;
};

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_RECORD_FILES_H_
