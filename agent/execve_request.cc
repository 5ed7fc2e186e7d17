#include "agent/execve_request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/limits.h"
#include "agent/memory.h"
#include "base/syscalls.h"
#include "base/unique_fd.h"

namespace landgate::agent {
namespace {

constexpr uint64_t kPage = 4096;
constexpr size_t kPointerBytes = 8;

// MAX_ARG_STRLEN of the kernel, which its headers give in pages.
size_t LongestString() { return 32 * static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

int ErrnoOfString(MemoryFault fault, int too_long) {
  return fault == MemoryFault::kTooLong ? too_long : ErrnoOf(fault);
}

// Pointers up to the null that ends them, a page at a time: the next page need not be there.
tl::expected<std::vector<uint64_t>, int> ReadPointers(pid_t thread, uint64_t address, size_t most) {
  std::vector<uint64_t> pointers;
  if (address == 0) return pointers;
  std::array<uint64_t, kPage / kPointerBytes> chunk;
  for (;;) {
    const uint64_t in_page = (kPage - address % kPage) / kPointerBytes;
    const size_t count = std::max<size_t>(in_page, 1);  // one that lies across two pages
    const std::span<uint64_t> wanted(chunk.data(), count);
    if (auto read = ReadBytes(thread, address, std::as_writable_bytes(wanted)); !read) {
      return tl::unexpected(ErrnoOf(read.error()));
    }
    for (const uint64_t pointer : wanted) {
      if (pointer == 0) return pointers;
      if (pointers.size() == most) return tl::unexpected(E2BIG);
      pointers.push_back(pointer);
    }
    address += count * kPointerBytes;
  }
}

// `room` is what is left of kMaxCommandLineBytes; pointers count as the kernel counts them.
int ReadStrings(pid_t thread, uint64_t address, size_t* room, std::vector<char>& buffer,
                std::vector<std::string>* strings) {
  const auto pointers = ReadPointers(thread, address, *room / (kPointerBytes + 1));
  if (!pointers) return pointers.error();
  *room -= pointers->size() * kPointerBytes;
  strings->reserve(pointers->size());
  for (const uint64_t pointer : *pointers) {
    const auto text = ReadString(thread, pointer, std::span<char>(buffer));
    if (!text) return ErrnoOfString(text.error(), E2BIG);
    if (text->size() + 1 > *room) return E2BIG;
    *room -= text->size() + 1;
    strings->emplace_back(*text);
  }
  return 0;
}

Result<UniqueFd> OpenProgram(pid_t thread, const std::string& path) {
  const std::string proc = "/proc/" + std::to_string(thread);
  const bool absolute = path.starts_with('/');
  const std::string base = proc + (absolute ? "/root" : "/cwd");
  const UniqueFd directory(open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return SystemError(base, errno);
  // Beneath a working directory an absolute symlink would lead to a root of ours: it is refused
  // with EXDEV, which tells nothing.
  return Openat2(directory, path.c_str(), O_PATH, 0,
                 RESOLVE_NO_MAGICLINKS | (absolute ? RESOLVE_IN_ROOT : RESOLVE_BENEATH));
}

}  // namespace

tl::expected<sandbox::CommandLine, int> ReadExecve(pid_t thread, const ExecveArguments& from) {
  sandbox::CommandLine command;
  std::vector<char> buffer(LongestString());
  const auto path = ReadString(thread, from.path, std::span<char>(buffer.data(), PATH_MAX));
  if (!path) return tl::unexpected(ErrnoOfString(path.error(), ENAMETOOLONG));
  command.path = *path;
  size_t room = kMaxCommandLineBytes - command.path.size();
  if (const int error = ReadStrings(thread, from.arguments, &room, buffer, &command.arguments)) {
    return tl::unexpected(error);
  }
  if (const int error =
          ReadStrings(thread, from.environment, &room, buffer, &command.environment)) {
    return tl::unexpected(error);
  }
  return command;
}

int LookForProgram(pid_t thread, const std::string& path) {
  if (path.empty()) return ENOENT;
  // /proc/self would be ours, and is not there in the container's /proc.
  if (path.starts_with("/proc/") || path.starts_with("/dev/")) return 0;
  const Result<UniqueFd> program = OpenProgram(thread, path);
  if (!program) {
    const int error = program.error().error_number;
    return error == ENOENT || error == ENOTDIR ? error : 0;
  }
  struct stat st;
  if (fstat(program->get(), &st) < 0) return 0;
  return S_ISREG(st.st_mode) && st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH) ? 0 : EACCES;
}

}  // namespace landgate::agent
