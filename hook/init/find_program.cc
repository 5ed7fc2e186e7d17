#include "hook/init/find_program.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

namespace landgate::init {
namespace {

// 0, or why `path` is not a file that this process may execute.
int Executable(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) < 0) return errno;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  if (faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0) return 0;
  // Seccomp profiles older than faccessat2 answer EPERM, which is no answer: ask the mode.
  if (errno != EPERM && errno != ENOSYS) return errno;
  return st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH) ? 0 : EACCES;
}

}  // namespace

int ExitStatusOfExec(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR ? kNotFound : kNotExecutable;
}

std::string Reason(int error_number) {
  const char* text = strerrordesc_np(error_number);
  std::string reason = text ? text : "unknown error";
  if (reason[0] >= 'A' && reason[0] <= 'Z') reason[0] = static_cast<char>(reason[0] | 0x20);
  return reason;
}

Program FindProgram(const std::string& name, const char* search_path) {
  if (name.find('/') != std::string::npos) {
    if (const int error = Executable(name)) return {"", ExitStatusOfExec(error), Reason(error)};
    return {name, 0, ""};
  }
  // An empty PATH has no elements; "/bin:" has two, of which the second is empty.
  std::string_view rest = search_path ? search_path : "";
  while (!name.empty() && !rest.empty()) {
    const size_t colon = rest.find(':');
    std::string candidate(rest.substr(0, colon));
    if (candidate.empty()) candidate += '.';
    candidate += '/';
    candidate += name;
    if (Executable(candidate) == 0) return {candidate, 0, ""};
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
    if (rest.empty()) rest = ".";  // a colon at the end
  }
  return {"", kNotFound, "executable file not found in $PATH"};
}

}  // namespace landgate::init
