#include "agent/ctl/ctl_subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/files.h"
#include "base/syscalls.h"
#include "base/unique_fd.h"

namespace landgate::ctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxOutput = size_t{1} << 20;

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return SystemError("pipe2", errno);
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

int ExitStatusOf(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// False at EOF.
bool ReadSome(const UniqueFd& fd, std::string& into) {
  std::array<char, 8192> buffer;
  const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  if (got == 0) return false;
  if (into.size() < kMaxOutput) into.append(buffer.data(), static_cast<size_t>(got));
  return true;
}

// Reads both pipes until the process behind `pidfd` has ended and nothing more lies in them.
// Waiting for EOF alone would wait for whatever the program left running with our pipe in its
// hands.
bool Collect(const UniqueFd& pidfd, UniqueFd& out, UniqueFd& err, Clock::time_point deadline,
             Finished& finished) {
  bool ended = false;
  while (true) {
    std::array<pollfd, 3> fds{pollfd{out.get(), POLLIN, 0}, pollfd{err.get(), POLLIN, 0},
                              pollfd{ended ? -1 : pidfd.get(), POLLIN, 0}};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const int ready =
        poll(fds.data(), fds.size(), ended ? 0 : static_cast<int>(left > 0 ? left : 0));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return ended;
    if (fds[0].revents != 0 && !ReadSome(out, finished.out)) out.Reset();
    if (fds[1].revents != 0 && !ReadSome(err, finished.err)) err.Reset();
    if (fds[2].revents != 0) ended = true;
    if (ended && !out.valid() && !err.valid()) return true;
  }
}

}  // namespace

std::string Finished::LastLine() const {
  for (const std::string* text : {&err, &out}) {
    std::string_view rest = *text;
    while (!rest.empty() && (rest.back() == '\n' || rest.back() == '\r')) rest.remove_suffix(1);
    const size_t newline = rest.rfind('\n');
    if (newline != std::string_view::npos) rest.remove_prefix(newline + 1);
    if (!rest.empty()) return std::string(rest);
  }
  return timed_out ? "no answer in time" : "exit status " + std::to_string(status);
}

Result<Finished> RunProgram(const std::vector<std::string>& argv,
                            std::chrono::milliseconds timeout) {
  Result<Pipe> out = MakePipe();
  if (!out) return Forward(out);
  Result<Pipe> err = MakePipe();
  if (!err) return Forward(err);

  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out->write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err->write.get(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t pid = 0;
  const int failed =
      posix_spawn(&pid, argv[0].c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return SystemError(argv[0], failed);
  out->write.Reset();
  err->write.Reset();

  Finished finished;
  Result<UniqueFd> pidfd = PidfdOpen(pid);
  if (!pidfd) {
    (void)kill(-pid, SIGKILL);  // ours and not yet waited for: the number can't be anybody else's
    (void)WaitFor(pid);
    return Context("pidfd_open", pidfd);
  }
  finished.timed_out = !Collect(*pidfd, out->read, err->read, Clock::now() + timeout, finished);
  if (finished.timed_out) (void)kill(-pid, SIGKILL);
  finished.status = ExitStatusOf(WaitFor(pid));
  return finished;
}

std::optional<std::string> FindProgram(const std::string& name) {
  const char* path = getenv("PATH");
  std::string directories = path != nullptr ? path : "";
  directories += ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  size_t start = 0;
  while (start <= directories.size()) {
    const size_t end = std::min(directories.find(':', start), directories.size());
    const std::string directory = directories.substr(start, end - start);
    start = end + 1;
    if (directory.empty() || directory[0] != '/') continue;  // never from the current directory
    std::string candidate = directory + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

std::string InChild(const std::function<std::string()>& body) {
  Result<Pipe> pipe = MakePipe();
  if (!pipe) return pipe.error().message;
  const pid_t pid = fork();
  if (pid < 0) return std::string("fork: ") + strerror(errno);
  if (pid == 0) {
    const std::string text = body();
    (void)WriteAll(pipe->write, text);  // a parent that is gone needs no answer
    _exit(0);
  }
  pipe->write.Reset();
  Result<std::string> text = ReadAll(pipe->read);
  const int status = ExitStatusOf(WaitFor(pid));
  if (status != 0) return "the trial ended with status " + std::to_string(status);
  return text ? *text : text.error().message;
}

}  // namespace landgate::ctl
