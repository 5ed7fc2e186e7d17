#include "agent/notify/process_stat.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <span>

#include "base/unique_fd.h"

namespace landgate::agent {
namespace {

// Empty where it can't be read, which no file of these is.
std::string_view ReadSmallFile(pid_t id, const char* name, std::span<char> buffer) {
  char path[48];
  (void)std::snprintf(path, sizeof path, "/proc/%d/%s", id, name);  // fits
  const UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  const ssize_t count = read(file.get(), buffer.data(), buffer.size());
  if (count <= 0) return {};
  return {buffer.data(), static_cast<size_t>(count)};
}

}  // namespace

std::optional<ProcessStat> ParseProcessStat(std::string_view text) {
  // PID (NAME) STATE …: the name may hold brackets, what follows it doesn't.
  const size_t end = text.rfind(')');
  if (end == std::string_view::npos || end + 3 > text.size()) return std::nullopt;
  std::string_view rest = text.substr(end + 2);
  ProcessStat stat;
  stat.state = rest.front();
  constexpr int kFieldsToStart = 19;  // from field 3, the state, to field 22
  for (int i = 0; i < kFieldsToStart; ++i) {
    const size_t space = rest.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(space + 1);
  }
  const auto [last, error] = std::from_chars(rest.data(), rest.data() + rest.size(), stat.start);
  if (error != std::errc() || last == rest.data()) return std::nullopt;
  return stat;
}

std::optional<ProcessStat> ReadProcessStat(pid_t id) {
  std::array<char, 1024> text;  // some 350 bytes
  return ParseProcessStat(ReadSmallFile(id, "stat", text));
}

bool IsAlive(pid_t id, uint64_t start) {
  const std::optional<ProcessStat> stat = ReadProcessStat(id);
  return stat && stat->start == start && stat->state != 'Z' && stat->state != 'X';
}

std::optional<uint64_t> ParseStackPointer(std::string_view text) {
  // "NR ARG… SP PC", or "-1 SP PC" outside a system call, or "running".
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  const size_t last = text.rfind(' ');
  if (last == std::string_view::npos) return std::nullopt;
  const std::string_view before = text.substr(0, last);
  const size_t space = before.rfind(' ');
  if (space == std::string_view::npos) return std::nullopt;
  std::string_view number = before.substr(space + 1);
  if (!number.starts_with("0x")) return std::nullopt;
  number.remove_prefix(2);
  uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(number.data(), number.data() + number.size(), value, 16);
  if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> ReadStackPointer(pid_t thread) {
  std::array<char, 256> text;  // at most 9 numbers
  return ParseStackPointer(ReadSmallFile(thread, "syscall", text));
}

}  // namespace landgate::agent
