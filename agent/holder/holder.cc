#include "agent/holder/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "agent/holder/holder_confine.h"
#include "agent/holder/holder_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {
namespace {

int Complain(const Error& error) {
  std::fprintf(stderr, "landgate-agent hold: %s\n", error.message.c_str());
  return static_cast<int>(error.status);
}

// The holder's own socket, and the lock that keeps a second holder away from its path.
struct OwnSocket {
  UniqueFd listening;
  UniqueFd lock;
  bool owns_path = false;
};

// What systemd passed (sd_listen_fds(3)); none: it passed nothing.
Result<std::optional<OwnSocket>> ActivatedSocket() {
  const int passed = sd_listen_fds(1);
  if (passed <= 0) return std::optional<OwnSocket>();
  UniqueFd socket(SD_LISTEN_FDS_START);
  if (passed != 1 ||
      sd_is_socket_unix(socket.get(), SOCK_SEQPACKET, /*listening=*/1, nullptr, 0) <= 0)
    return Refuse("the socket unit must pass one socket, ListenSequentialPacket=");
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) < 0)
    return SystemError("the socket of the socket unit", errno);
  OwnSocket own;
  own.listening = std::move(socket);
  return std::optional<OwnSocket>(std::move(own));
}

Result<OwnSocket> MakeSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.front() != '/' || path.size() >= sizeof address.sun_path) {
    return BadUsage("--socket " + path + ": an absolute path of at most " +
                    std::to_string(sizeof address.sun_path - 1) + " bytes is needed");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  OwnSocket own;
  own.owns_path = true;
  // Who has the lock may take the path away from a holder that has died. It goes with the process.
  const std::string lock_path = path + ".lock";
  own.lock = UniqueFd(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!own.lock.valid()) return SystemError(lock_path, errno);
  if (flock(own.lock.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno == EWOULDBLOCK) return Impossible(path + ": another holder is there");
    return SystemError("locking " + lock_path, errno);
  }
  own.listening = UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!own.listening.valid()) return SystemError("socket", errno);
  if (unlink(path.c_str()) < 0 && errno != ENOENT) return SystemError(path, errno);
  const mode_t mask = umask(0177);
  const int bound =
      bind(own.listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int bind_errno = errno;
  (void)umask(mask);
  if (bound < 0) return SystemError(path, bind_errno);
  if (listen(own.listening.get(), SOMAXCONN) < 0) return SystemError(path, errno);
  return own;
}

// SIGTERM and SIGINT ask the holder to end when it keeps nothing for a container. The others that a
// terminal or its end sends mean nothing to it. SIGKILL and SIGQUIT end it.
Result<UniqueFd> TakeSignals() {
  for (const int ignored : {SIGPIPE, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2})
    (void)signal(ignored, SIG_IGN);
  sigset_t asked;
  sigemptyset(&asked);
  sigaddset(&asked, SIGTERM);
  sigaddset(&asked, SIGINT);
  if (sigprocmask(SIG_SETMASK, &asked, nullptr) < 0) return SystemError("sigprocmask", errno);
  UniqueFd signals(signalfd(-1, &asked, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return SystemError("signalfd", errno);
  return signals;
}

// Leaves the starter. The child returns, with the pipe on which it is to say that it is ready; the
// starter's process stays here until then and ends.
Result<UniqueFd> GoToBackground() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return SystemError("pipe2", errno);
  UniqueFd heard(ends[0]);
  UniqueFd say(ends[1]);
  const pid_t child = fork();
  if (child < 0) return SystemError("fork", errno);
  if (child == 0) {
    if (setsid() < 0) return SystemError("setsid", errno);
    return say;
  }
  say.Reset();
  char ready;
  ssize_t count;
  do {
    count = read(heard.get(), &ready, 1);
  } while (count < 0 && errno == EINTR);
  if (count == 1) _exit(static_cast<int>(ExitStatus::kDone));
  int status = 0;
  pid_t waited;
  do {
    waited = waitpid(child, &status, 0);
  } while (waited < 0 && errno == EINTR);
  _exit(waited == child && WIFEXITED(status) ? WEXITSTATUS(status)
                                             : static_cast<int>(ExitStatus::kImpossible));
}

Status LeaveStreams() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!null.valid()) return SystemError("/dev/null", errno);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (dup2(null.get(), stream) < 0) return SystemError("dup2", errno);
  return {};
}

Status Hold(const HoldOptions& options) {
  Result<std::optional<OwnSocket>> activated = ActivatedSocket();
  if (!activated) return Forward(activated);
  // Only what belongs here stays open: a descriptor that a starter left open by mistake would live
  // as long as the containers.
  if (!activated->has_value()) (void)close_range(STDERR_FILENO + 1, ~0U, 0);
  UniqueFd say_ready;
  if (options.background) {
    Result<UniqueFd> said = GoToBackground();
    if (!said) return Forward(said);
    say_ready = *std::move(said);
  }
  OwnSocket own;
  if (activated->has_value()) {
    own = *std::move(*activated);
  } else {
    Result<OwnSocket> made = MakeSocket(options.socket_path);
    if (!made) return Forward(made);
    own = *std::move(made);
  }
  if (chdir("/") < 0) return SystemError("chdir /", errno);
  (void)prctl(PR_SET_NAME, "landgate-hold");  // for people; can't fail
  RaiseDescriptorLimit();
  Result<UniqueFd> signals = TakeSignals();
  if (!signals) return Forward(signals);
  HolderLoop::Options loop_options;
  loop_options.stay = options.stay;
  Result<HolderLoop> loop =
      HolderLoop::Create(std::move(own.listening), *std::move(signals), loop_options);
  if (!loop) return Forward(loop);
  (void)sd_notify(1, "READY=1");  // without systemd: nothing
  if (say_ready.valid()) {
    if (write(say_ready.get(), "", 1) != 1) return SystemError("telling the starter", errno);
    say_ready.Reset();
    if (Status left = LeaveStreams(); !left) return left;
  }
  if (Status confined = ConfineHolder(own.owns_path); !confined) return confined;
  Result<bool> more = true;
  while (more && *more) more = loop->Step(std::chrono::milliseconds(-1));
  // With the lock: nobody else has made it anew. Who connects at this moment is disconnected and
  // starts a holder of his own.
  if (own.owns_path) (void)unlink(options.socket_path.c_str());
  if (!more) return Forward(more);
  return {};
}

}  // namespace

int HoldMain(const HoldOptions& options) {
  const Status held = Hold(options);
  return held ? static_cast<int>(ExitStatus::kDone) : Complain(held.error());
}

}  // namespace landgate::agent
