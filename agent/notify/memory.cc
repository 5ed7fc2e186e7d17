#include "agent/notify/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "agent/notify/read_watch.h"
#include "base/unique_fd.h"

namespace landgate::agent {
namespace {

// The smallest page of any architecture Linux runs on. A bigger one only means more reads.
constexpr uint64_t kPage = 4096;

MemoryFault FaultOf(int error_number) {
  switch (error_number) {
    case ESRCH:
      return MemoryFault::kGone;
    case EFAULT:
    case EIO:  // /proc/PID/mem says so for addresses without memory
    case EINVAL:
      return MemoryFault::kBadAddress;
    default:
      return MemoryFault::kForbidden;
  }
}

// Bytes that were read, from the beginning.
tl::expected<size_t, MemoryFault> ReadSome(pid_t thread, uint64_t address, void* buffer,
                                           size_t size) {
  iovec here{buffer, size};
  // Not a pointer of ours: never dereferenced here.
  iovec there{reinterpret_cast<void*>(static_cast<uintptr_t>(address)), size};
  const ssize_t got = process_vm_readv(thread, &here, 1, &there, 1, 0);
  if (got < 0) return tl::unexpected(FaultOf(errno));
  return static_cast<size_t>(got);
}

// Runs `read` under the deadline of whoever watches this thread.
template <class Read>
auto Watched(const Read& read) -> decltype(read()) {
  ReadWatch* const watch = read_watch;
  if (watch == nullptr) return read();
  if (!watch->BeginRead()) return tl::unexpected(MemoryFault::kForbidden);
  auto result = read();
  // What came after the deadline is not used: the caller has its answer.
  if (!watch->EndRead()) return tl::unexpected(MemoryFault::kForbidden);
  return result;
}

}  // namespace

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

tl::expected<void, MemoryFault> ReadBytes(pid_t thread, uint64_t address,
                                          std::span<std::byte> buffer) {
  if (buffer.empty()) return {};
  return Watched([&]() -> tl::expected<void, MemoryFault> {
    const auto got = ReadSome(thread, address, buffer.data(), buffer.size());
    if (!got) return tl::unexpected(got.error());
    if (*got != buffer.size()) return tl::unexpected(MemoryFault::kBadAddress);
    return {};
  });
}

tl::expected<std::string_view, MemoryFault> ReadString(pid_t thread, uint64_t address,
                                                       std::span<char> buffer) {
  return Watched([&]() -> tl::expected<std::string_view, MemoryFault> {
    size_t length = 0;
    while (length < buffer.size()) {
      // To the end of the page: the next one need not be there when the string ends on this one.
      const uint64_t at = address + length;
      const size_t size = std::min<uint64_t>(buffer.size() - length, kPage - (at & (kPage - 1)));
      const auto got = ReadSome(thread, at, buffer.data() + length, size);
      if (!got) return tl::unexpected(got.error());
      if (const void* end = memchr(buffer.data() + length, '\0', *got)) {
        return std::string_view(buffer.data(),
                                static_cast<size_t>(static_cast<const char*>(end) - buffer.data()));
      }
      if (*got != size) return tl::unexpected(MemoryFault::kBadAddress);
      length += size;
    }
    return tl::unexpected(MemoryFault::kTooLong);
  });
}

tl::expected<void, MemoryFault> WriteBytes(pid_t thread, uint64_t address, std::string_view bytes) {
  if (address > static_cast<uint64_t>(std::numeric_limits<off_t>::max()))
    return tl::unexpected(MemoryFault::kBadAddress);
  char path[32];
  (void)snprintf(path, sizeof path, "/proc/%d/mem", thread);
  return Watched([&]() -> tl::expected<void, MemoryFault> {
    const UniqueFd memory(open(path, O_WRONLY | O_CLOEXEC));
    if (!memory.valid())
      return tl::unexpected(errno == ENOENT ? MemoryFault::kGone : FaultOf(errno));
    const ssize_t put =
        pwrite(memory.get(), bytes.data(), bytes.size(), static_cast<off_t>(address));
    if (put < 0) return tl::unexpected(FaultOf(errno));
    // 0: the process has ended and its memory with it.
    if (put == 0 && !bytes.empty()) return tl::unexpected(MemoryFault::kGone);
    if (static_cast<size_t>(put) != bytes.size()) return tl::unexpected(MemoryFault::kBadAddress);
    return {};
  });
}

}  // namespace landgate::agent
