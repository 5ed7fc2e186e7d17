#include "hook/exec_session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "base/paths.h"
#include "hook/child.h"
#include "hook/container_entry.h"
#include "hook/real_runtime.h"
#include "oci-specs/config_patch.h"
#include "oci-specs/process.h"
#include "oci-specs/state.h"
#include "sandbox/plan.h"

namespace landgate::hook {
namespace {

Status CompareInContainer(const ContainerNamespaces& container, const Record& record) {
  if (Status ok = EnterMountNamespace(container); !ok) return ok;
  const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return SystemError("the container's root", errno);
  if (Result<UniqueFd> fd = OpenMounted(root, "dev/lg", record.launcher, "/dev/lg"); !fd) {
    return Forward(fd);
  }
  if (Result<UniqueFd> fd = OpenMounted(root, "dev/lg.plan", record.plan, "/dev/lg.plan"); !fd) {
    return Forward(fd);
  }
  return {};
}

// Above everything that the runtime passes on to the session.
int FirstUnusedFd(int preserve_fds) {
  constexpr int kMargin = 16;
  constexpr int kMost = 4096;
  const char* listen_fds = getenv("LISTEN_FDS");
  const long passed = listen_fds ? std::clamp(strtol(listen_fds, nullptr, 10), 0L, long{kMost}) : 0;
  return 3 + kMargin + static_cast<int>(passed) + std::min(preserve_fds, kMost);
}

Result<UniqueFd> HoldDocument(std::string_view text, int at_least) {
  UniqueFd file(memfd_create("process.json", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return SystemError("memfd_create", errno);
  if (Status ok = WriteAll(file, text); !ok) return Context("process document", ok);
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) <
      0) {
    return SystemError("F_ADD_SEALS", errno);
  }
  UniqueFd kept(fcntl(file.get(), F_DUPFD, at_least));  // without CLOEXEC: the runtime opens it
  if (!kept.valid()) return SystemError("F_DUPFD", errno);
  return kept;
}

Result<std::string> ReadDocument(const std::string& path) {
  // Not ReadFile: engines may name a pipe.
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) return SystemError(path, errno);
  Result<std::string> text = ReadAll(fd);
  if (!text) return Context(path, text);
  return text;
}

}  // namespace

Result<std::optional<Record>> FindRecord(const node::Config& config, const std::string& runtime,
                                         const RuntimeCommand& command) {
  if (!oci::IsContainerId(command.id)) return std::optional<Record>();  // the runtime refuses it
  Result<std::optional<Record>> record = ReadRecord(config.run_dir, command.id);
  if (!record || *record) return record;
  Result<oci::State> state = QueryState(runtime, command.root, command.id);
  if (!state) return Forward(state);
  const std::string file = Join(state->bundle, "config.json");
  Result<std::string> text = ReadFile(file);
  if (!text) return Context("whether a policy holds can't be told", text);
  Result<oci::ConfigView> view = oci::ReadConfig(*text, file);
  if (!view) return Forward(view);
  if (view->patched) {
    return Refuse("container " + command.id + " runs under a policy but " +
                  ContainerDirectory(config.run_dir, command.id) +
                  "/record.json is gone; stop the container and start it again");
  }
  return record;
}

Status VerifyLauncher(const Record& record) {
  Result<ContainerNamespaces> container = OpenNamespaces(record.pid);
  if (!container) return Context("container " + record.id, container);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return SystemError("pipe", errno);
  UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  const pid_t child = fork();
  if (child < 0) return SystemError("fork", errno);
  if (child == 0) {
    const Status same = CompareInContainer(*container, record);
    if (!same) (void)WriteAll(input, same.error().message);  // the exit status says it failed
    _exit(same ? 0 : 1);
  }
  input.Reset();
  Result<std::string> message = ReadAll(output, 65536);
  const Result<int> status = WaitForChild(child);
  if (!status) return Failure(status.error());
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return {};
  return Refuse("container " + record.id + ": " +
                (message && !message->empty() ? *message : "could not be looked into") +
                "; the exec session is refused");
}

Result<ConfinedExec> ConfineExec(const RuntimeCommand& command,
                                 const std::optional<CapabilitySet>& keep) {
  ConfinedExec confined;
  confined.arguments = command.arguments;
  if (command.process) {
    std::string& argument = confined.arguments[command.process->index];
    const std::string path = argument.substr(command.process->offset);
    Result<std::string> text = ReadDocument(path);
    if (!text) return Context("exec --process", text);
    Result<std::string> patched = oci::PatchProcess(*text, path, keep);
    if (!patched) return Forward(patched);
    Result<UniqueFd> document = HoldDocument(*patched, FirstUnusedFd(command.preserve_fds));
    if (!document) return Forward(document);
    argument.replace(command.process->offset, std::string::npos,
                     "/proc/self/fd/" + std::to_string(document->get()));
    confined.document = std::move(*document);
    // With a document runtimes ignore what follows the id; it stays as it is.
    return confined;
  }
  if (command.exec_command != 0) {
    const auto at = confined.arguments.begin() + static_cast<ptrdiff_t>(command.exec_command);
    confined.arguments.insert(at, {std::string(sandbox::kLauncherPath), "exec"});
  }
  return confined;
}

}  // namespace landgate::hook
