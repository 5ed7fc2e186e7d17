#include "hook/real_runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "base/unique_fd.h"
#include "hook/child.h"

namespace landgate::hook {
namespace {

constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

bool IsThisProgram(const struct stat& st) {
  struct stat own;
  return stat("/proc/self/exe", &own) == 0 && own.st_dev == st.st_dev && own.st_ino == st.st_ino;
}

bool IsUsable(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && access(path.c_str(), X_OK) == 0 &&
         !IsThisProgram(st);
}

// Empty: not found.
std::string Search(const std::string& name) {
  if (name.find('/') != std::string::npos) return IsUsable(name) ? name : "";
  const char* variable = getenv("PATH");
  std::string_view path = variable && *variable ? variable : kDefaultPath;
  while (true) {
    const size_t colon = path.find(':');
    const std::string_view directory = path.substr(0, colon);
    // An empty entry means the working directory, which is the bundle: never taken.
    if (directory.starts_with('/')) {
      const std::string candidate = std::string(directory) + "/" + name;
      if (IsUsable(candidate)) return candidate;
    }
    if (colon == std::string_view::npos) return "";
    path.remove_prefix(colon + 1);
  }
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<std::string> FindRealRuntime(const node::Config& config) {
  const char* variable = getenv("LANDGATE_RUNTIME");
  for (const auto& [source, name] : {std::pair<std::string, std::string>{
                                         config.file + ": /runtime", config.runtime.value_or("")},
                                     {"LANDGATE_RUNTIME", variable ? variable : ""}}) {
    if (name.empty()) continue;
    std::string path = Search(name);
    if (!path.empty()) return path;
    return Impossible(source + ": " + name +
                      " is not an executable that could be the runtime behind landgate-runtime");
  }
  for (const char* name : {"runc", "crun"}) {
    std::string path = Search(name);
    if (!path.empty()) return path;
  }
  return Impossible("neither runc nor crun is on PATH; set `runtime` in config.json");
}

Status ExecRealRuntime(const std::string& path, const std::vector<std::string>& arguments) {
  std::vector<std::string> copies = {path};
  copies.insert(copies.end(), arguments.begin(), arguments.end());
  (void)execv(path.c_str(), Pointers(copies).data());
  const int error_number = errno;
  Failure failure = SystemError(path, error_number);
  failure.value().status = ExitStatus::kImpossible;
  return failure;
}

Result<oci::State> QueryState(const std::string& path, const std::optional<std::string>& root,
                              const std::string& id) {
  std::vector<std::string> arguments = {path};
  if (root) {
    arguments.emplace_back("--root");
    arguments.push_back(*root);
  }
  arguments.emplace_back("state");
  arguments.push_back(id);
  const std::vector<char*> pointers = Pointers(arguments);

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return SystemError("pipe", errno);
  UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  const UniqueFd complaint(memfd_create("stderr", MFD_CLOEXEC));
  if (!complaint.valid()) return SystemError("memfd_create", errno);
  const pid_t child = fork();
  if (child < 0) return SystemError("fork", errno);
  if (child == 0) {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(input.get(), 1) < 0 || dup2(complaint.get(), 2) < 0) {
      _exit(127);
    }
    (void)execv(path.c_str(), pointers.data());
    _exit(127);
  }
  input.Reset();
  Result<std::string> json = ReadAll(output);
  output.Reset();  // a child that writes more than we read gets SIGPIPE and ends
  const Result<int> status = WaitForChild(child);
  if (!status) return Failure(status.error());
  if (!json) return Context(path + " state", json);
  if (!WIFEXITED(*status) || WEXITSTATUS(*status) == 127) {
    return Refuse(path + " state " + id + ": did not run to its end");
  }
  if (WEXITSTATUS(*status) != 0) {
    // It may be that there is no such container, and may be anything else.
    (void)lseek(complaint.get(), 0, SEEK_SET);
    const Result<std::string> why = ReadAll(complaint, 65536);
    return Refuse(path + " state " + id + " failed, so whether a policy holds can't be told: " +
                  (why && !why->empty() ? why->substr(0, why->find('\n')) : "it said nothing"));
  }
  return oci::DecodeState(*json, path + " state");
}

}  // namespace landgate::hook
