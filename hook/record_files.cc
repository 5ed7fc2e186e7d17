#include "hook/record_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/files.h"
#include "hook/record.h"

namespace landgate::hook {

RecordFiles::~RecordFiles() {
  if (completed_ || !directory_.valid()) return;
  // By descriptor: paths are the container's by now. What stays is no record, and poststop or the
  // next start takes it away.
  for (const char* name : kRecordFiles) (void)unlinkat(directory_.get(), name, 0);
  (void)unlinkat(parent_.get(), id_.c_str(), AT_REMOVEDIR);
}

Status RecordFiles::Open() {
  Result<std::string> containers = MakeRunDirectory(run_dir_, "containers");
  if (!containers) return Forward(containers);
  if (Status ok = RemoveStale(run_dir_, id_); !ok) return ok;
  const std::string path = ContainerDirectory(run_dir_, id_);
  if (mkdir(path.c_str(), 0700) < 0) return SystemError(path, errno);
  parent_.Reset(open(containers->c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  directory_.Reset(open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!parent_.valid() || !directory_.valid()) return SystemError(path, errno);
  return {};
}

Status RecordFiles::OpenPlan() {
  Result<UniqueFd> plan = Create("plan", 0444);
  if (!plan) return Context(ContainerDirectory(run_dir_, id_), plan);
  plan_ = std::move(*plan);
  return {};
}

std::string RecordFiles::plan_path() const { return ContainerDirectory(run_dir_, id_) + "/plan"; }

Status RecordFiles::Write(const char* name, std::string_view bytes) {
  Result<UniqueFd> fd = Create(name, 0600);
  if (!fd) return Forward(fd);
  if (Status ok = WriteAll(*fd, bytes); !ok) return Context(name, ok);
  return {};
}

std::string RecordFiles::launcher_socket_path() const {
  return ContainerDirectory(run_dir_, id_) + "/launcher.sock";
}

Result<UniqueFd> RecordFiles::ListenForLauncher() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return SystemError("socket", errno);
  // By descriptor: the path of a container with a long id does not fit an address.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/launcher.sock",
                 directory_.get());
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
      chmod(address.sun_path, 0666) < 0 || listen(socket.get(), 1) < 0) {
    return SystemError(launcher_socket_path(), errno);
  }
  return socket;
}

Result<UniqueFd> RecordFiles::Create(const char* name, mode_t mode) {
  UniqueFd fd(openat(directory_.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd.valid()) return SystemError(name, errno);
  // Whatever the runtime's umask is: every user of the container reads the plan.
  if (fchmod(fd.get(), mode) < 0) return SystemError(name, errno);
  return fd;
}

}  // namespace landgate::hook
