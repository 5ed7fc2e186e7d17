#include "hook/child.h"

#include <errno.h>
#include <sys/wait.h>

namespace landgate::hook {

Result<int> WaitForChild(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return SystemError("waitpid", errno);
  }
  return status;
}

}  // namespace landgate::hook
