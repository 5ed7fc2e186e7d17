#include "agent/memory.h"

#include <errno.h>

namespace landgate::agent {

int ErrnoOf(MemoryFault fault) {
  switch (fault) {
    case MemoryFault::kGone:
      return ESRCH;
    case MemoryFault::kBadAddress:
      return EFAULT;
    case MemoryFault::kTooLong:
      return ENAMETOOLONG;
    case MemoryFault::kForbidden:
      break;
  }
  return EACCES;
}

}  // namespace landgate::agent
