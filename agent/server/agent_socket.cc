#include "agent/server/agent_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/files.h"
#include "base/paths.h"

namespace landgate::agent {
namespace {

constexpr int kBacklog = 1024;

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Refuse(path + ": a socket's path has at most " +
                  std::to_string(sizeof(address.sun_path) - 1) + " bytes; set `agentSocket`");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Nothing there, or a socket that nobody listens on any more.
Status MayReplace(const std::string& path, const sockaddr_un& address) {
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return {};
    return SystemError(path, errno);
  }
  if (!S_ISSOCK(st.st_mode)) return Refuse(path + ": is no socket; remove it or set `agentSocket`");
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return SystemError("socket", errno);
  if (connect(probe.get(), Generic(address), sizeof(address)) != 0 && errno == ECONNREFUSED)
    return {};
  return Impossible(path +
                    ": somebody listens there already; stop that agent or set `agentSocket`");
}

}  // namespace

Result<UniqueFd> ListenOnAgentSocket(const std::string& path) {
  Result<sockaddr_un> wanted = AddressOf(path);
  if (!wanted) return Forward(wanted);
  const std::string fresh = path + ".new";
  Result<sockaddr_un> address = AddressOf(fresh);
  if (!address) return Forward(address);
  if (Status made = MakeDirectories(std::string(Parent(path)), 0755); !made) return Forward(made);
  if (Status may = MayReplace(path, *wanted); !may) return Forward(may);
  if (unlink(fresh.c_str()) != 0 && errno != ENOENT) return SystemError(fresh, errno);
  UniqueFd listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listening.valid()) return SystemError("socket", errno);
  // The file gets the socket's own mode, so that it never has another one.
  if (fchmod(listening.get(), 0600) != 0 ||
      bind(listening.get(), Generic(*address), sizeof(*address)) != 0) {
    return SystemError(fresh, errno);
  }
  if (listen(listening.get(), kBacklog) != 0 || rename(fresh.c_str(), path.c_str()) != 0) {
    const int error = errno;
    (void)unlink(fresh.c_str());  // what counts is the first error
    return SystemError(path, error);
  }
  return listening;
}

std::string SocketIdentity(const std::string& path) {
  struct stat st;
  if (lstat(path.c_str(), &st) != 0 || !S_ISSOCK(st.st_mode)) return {};
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) + " " + path;
}

}  // namespace landgate::agent
