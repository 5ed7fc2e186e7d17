#include "base/unique_fd.h"

#include <unistd.h>

namespace landgate {

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) (void)close(fd_);  // nothing can be done about a failed close
  fd_ = fd;
}

}  // namespace landgate
