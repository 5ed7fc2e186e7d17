#include "agent/handlers/execve_request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/limits.h"
#include "agent/notify/memory.h"
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

// Whole pages, of which the last ones are kept: arguments lie side by side, and to read each of
// them by itself would cost a system call and a page every time.
class Pages {
 public:
  explicit Pages(pid_t process) : process_(process) {}

  // The bytes from `address` to the end of its page.
  tl::expected<std::string_view, MemoryFault> From(uint64_t address) {
    const uint64_t start = address - address % kPage;
    Kept& page = pages_[start / kPage % pages_.size()];
    if (!page.there || page.start != start) {
      page.there = false;
      if (auto read = ReadBytes(process_, start, std::as_writable_bytes(std::span(page.bytes)));
          !read) {
        return tl::unexpected(read.error());
      }
      page.start = start;
      page.there = true;
    }
    return std::string_view(page.bytes.data(), page.bytes.size()).substr(address % kPage);
  }

  // A string with fewer than `limit` bytes.
  tl::expected<std::string, MemoryFault> String(uint64_t address, size_t limit) {
    std::string text;
    while (text.size() < limit) {
      const auto rest = From(address + text.size());
      if (!rest) return tl::unexpected(rest.error());
      const size_t end = rest->find('\0');
      text += rest->substr(0, end);
      if (end == std::string_view::npos) continue;
      if (text.size() < limit) return text;
    }
    return tl::unexpected(MemoryFault::kTooLong);
  }

  tl::expected<uint64_t, MemoryFault> Pointer(uint64_t address) {
    std::array<char, kPointerBytes> bytes;
    for (size_t done = 0; done < bytes.size();) {
      const auto rest = From(address + done);
      if (!rest) return tl::unexpected(rest.error());
      done += rest->copy(bytes.data() + done, bytes.size() - done);
    }
    return std::bit_cast<uint64_t>(bytes);
  }

 private:
  struct Kept {
    bool there = false;
    uint64_t start = 0;
    std::array<char, kPage> bytes;
  };
  const pid_t process_;
  std::vector<Kept> pages_ = std::vector<Kept>(64);
};

// The strings behind an array of pointers that a null ends. `room` is what is left of
// kMaxCommandLineBytes; pointers count as the kernel counts them.
int ReadStrings(Pages& pages, uint64_t array, size_t* room, std::vector<std::string>* strings) {
  if (array == 0) return 0;
  for (;; array += kPointerBytes) {
    const auto pointer = pages.Pointer(array);
    if (!pointer) return ErrnoOf(pointer.error());
    if (*pointer == 0) return 0;
    auto text = pages.String(*pointer, LongestString());
    if (!text) return ErrnoOfString(text.error(), E2BIG);
    const size_t takes = kPointerBytes + text->size() + 1;
    if (takes > *room) return E2BIG;
    *room -= takes;
    strings->push_back(std::move(*text));
  }
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

tl::expected<std::string, int> ReadExecvePath(pid_t process, const ExecveArguments& from) {
  auto path = Pages(process).String(from.path, PATH_MAX);
  if (!path) return tl::unexpected(ErrnoOfString(path.error(), ENAMETOOLONG));
  return std::move(*path);
}

tl::expected<sandbox::CommandLine, int> ReadExecve(pid_t process, const ExecveArguments& from) {
  sandbox::CommandLine command;
  Pages pages(process);
  auto path = pages.String(from.path, PATH_MAX);
  if (!path) return tl::unexpected(ErrnoOfString(path.error(), ENAMETOOLONG));
  command.path = std::move(*path);
  size_t room = kMaxCommandLineBytes - command.path.size();
  if (const int error = ReadStrings(pages, from.arguments, &room, &command.arguments)) {
    return tl::unexpected(error);
  }
  if (const int error = ReadStrings(pages, from.environment, &room, &command.environment)) {
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
