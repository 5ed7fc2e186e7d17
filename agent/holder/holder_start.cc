#include "agent/holder/holder_start.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "agent/holder/holder_peer.h"

namespace landgate::agent {

Result<UniqueFd> ConnectToHolder(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path)
    return SystemError("the holder's socket " + socket_path, ENAMETOOLONG);
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return SystemError("socket", errno);
  int connected;
  do {
    connected = connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (connected < 0 && errno == EINTR);
  if (connected < 0) return SystemError(socket_path, errno);
  if (Result<HolderPeer> peer = IdentifyPeer(socket); !peer) return Context(socket_path, peer);
  return socket;
}

std::vector<std::string> EnvironmentForChildren() {
  static constexpr std::array<std::string_view, 6> kOurs = {
      "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=",
      "LISTEN_PID=",    "LISTEN_FDS=",   "LISTEN_FDNAMES="};
  std::vector<std::string> kept;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (std::ranges::none_of(kOurs, [&](std::string_view name) { return text.starts_with(name); }))
      kept.emplace_back(text);
  }
  return kept;
}

Status StartHolder(const std::string& program, const std::string& socket_path) {
  std::vector<std::string> arguments = {"landgate-agent", "hold", "--socket", socket_path,
                                        "--background"};
  std::vector<std::string> environment = EnvironmentForChildren();
  std::vector<char*> argv, envp;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  for (std::string& entry : environment) envp.push_back(entry.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int failed =
      posix_spawn(&pid, program.c_str(), nullptr, &attributes, argv.data(), envp.data());
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return SystemError("starting " + program, failed);
  int status = 0;
  pid_t waited;
  do {
    waited = waitpid(pid, &status, 0);
  } while (waited < 0 && errno == EINTR);
  // Somebody who reaps every child of this process may have been faster; the connection tells.
  if (waited < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return {};
  return Impossible("no holder could be started: " + program + " hold --socket " + socket_path);
}

}  // namespace landgate::agent
