#include "agent/handlers/caller.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "base/unique_fd.h"

namespace landgate::agent {
namespace {

// The value of "NAME:\tVALUE\n" at the start of a line.
std::optional<std::string_view> Field(std::string_view status, std::string_view name) {
  for (size_t at = 0; at < status.size();) {
    const size_t end = std::min(status.find('\n', at), status.size());
    const std::string_view line = status.substr(at, end - at);
    if (line.starts_with(name)) return line.substr(name.size());
    at = end + 1;
  }
  return std::nullopt;
}

// The last of several numbers: the innermost namespace.
std::optional<pid_t> LastNumber(std::optional<std::string_view> value) {
  if (!value) return std::nullopt;
  const size_t blank = value->find_last_of("\t ");
  const std::string_view word = blank == std::string_view::npos ? *value : value->substr(blank + 1);
  pid_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return number;
}

// A status file has far less than this; the fields that are wanted stand near its start.
constexpr size_t kStatusBytes = 4096;

}  // namespace

std::optional<Caller> ParseStatus(std::string_view status) {
  const std::optional<pid_t> tgid = LastNumber(Field(status, "Tgid:"));
  if (!tgid) return std::nullopt;
  Caller caller;
  caller.tgid = *tgid;
  // Absent in a kernel without pid namespaces, where both are the same.
  caller.nspid = LastNumber(Field(status, "NStgid:")).value_or(*tgid);
  caller.nstid = LastNumber(Field(status, "NSpid:")).value_or(caller.nspid);
  return caller;
}

std::optional<Caller> IdentifyCaller(pid_t thread) {
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/%d/status", thread);  // fits
  const UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return std::nullopt;
  char text[kStatusBytes];
  const ssize_t length = read(file.get(), text, sizeof text);
  if (length <= 0) return std::nullopt;
  return ParseStatus({text, static_cast<size_t>(length)});
}

std::optional<Caller> DescribeCaller(pid_t thread) {
  std::optional<Caller> caller = IdentifyCaller(thread);
  if (!caller) return std::nullopt;
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/%d/comm", thread);
  if (const UniqueFd file(open(path, O_RDONLY | O_CLOEXEC)); file.valid()) {
    char comm[64];
    const ssize_t length = read(file.get(), comm, sizeof comm);
    if (length > 0) {
      caller->comm.assign(comm, static_cast<size_t>(length));
      if (caller->comm.ends_with('\n')) caller->comm.pop_back();
    }
  }
  (void)snprintf(path, sizeof path, "/proc/%d/exe", thread);
  char exe[PATH_MAX];
  const ssize_t length = readlink(path, exe, sizeof exe);
  if (length > 0) caller->exe.assign(exe, static_cast<size_t>(length));
  return caller;
}

}  // namespace landgate::agent
