#include "hook/complaint.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <unistd.h>

#include <string>

#include "base/files.h"
#include "base/printable.h"
#include "base/syscalls.h"
#include "base/unique_fd.h"

namespace landgate::hook {
namespace {

bool IsDevNull(BorrowedFd fd) {
  struct stat st;
  return fstat(fd.get(), &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

}  // namespace

int Complain(const Error& error) {
  const std::string message = Printable(error.message);
  const std::string line = "landgate-hook: " + message + "\n";
  const BorrowedFd own(STDERR_FILENO);
  (void)WriteAll(own, line);  // nowhere else to report that
  if (IsDevNull(own)) {
    // The very description, not the file opened anew: so the starter's next line follows ours.
    if (const Result<UniqueFd> starter = PidfdOpen(getppid())) {
      const Result<UniqueFd> its_stderr = PidfdGetfd(*starter, STDERR_FILENO);
      if (its_stderr) (void)WriteAll(*its_stderr, line);  // syslog has it, too
    }
    openlog("landgate-hook", LOG_PID, LOG_DAEMON);
    syslog(LOG_ERR, "%s", message.c_str());
  }
  return static_cast<int>(error.status);
}

}  // namespace landgate::hook
