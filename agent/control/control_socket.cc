#include "agent/control/control_socket.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

namespace landgate::agent {
namespace {

constexpr int kBacklog = 128;

Result<UniqueFd> NewSocket(int family) {
  UniqueFd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return SystemError("socket", errno);
  return socket;
}

Result<struct sockaddr_un> UnixAddress(const std::string& path) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Refuse(path + ": a socket's path has at most " +
                  std::to_string(sizeof address.sun_path - 1) + " bytes; choose a shorter one");
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Nothing there, or a socket whose owner is gone.
Status CheckReplaceable(const std::string& path, const struct sockaddr_un& address) {
  struct stat st;
  if (lstat(path.c_str(), &st) < 0) {
    return errno == ENOENT ? Status{} : Status(SystemError(path, errno));
  }
  if (!S_ISSOCK(st.st_mode)) {
    return Refuse(path + ": is there and no socket; remove it, or set `controlSocket`");
  }
  Result<UniqueFd> probe = NewSocket(AF_UNIX);
  if (!probe) return Forward(probe);
  if (connect(probe->get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof address) <
          0 &&
      (errno == ECONNREFUSED || errno == ENOENT)) {
    return {};
  }
  return Impossible(path + ": another agent listens there; stop it, or set `controlSocket`");
}

std::optional<gid_t> GroupByName(const char* name) {
  std::vector<char> buffer(1 << 16);
  struct group entry;
  struct group* found = nullptr;
  if (getgrnam_r(name, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return entry.gr_gid;
}

Status OpenToGroup(const std::string& path, const char* group) {
  if (geteuid() != 0) return {};
  const std::optional<gid_t> gid = GroupByName(group);
  if (!gid) return {};
  // The owner first: with the mode first the old group could connect for a moment.
  if (lchown(path.c_str(), static_cast<uid_t>(-1), *gid) < 0 || chmod(path.c_str(), 0660) < 0) {
    return SystemError(path, errno);
  }
  return {};
}

}  // namespace

Result<UniqueFd> ListenOnControlSocket(const std::string& path, const char* group) {
  Result<struct sockaddr_un> wanted = UnixAddress(path);
  if (!wanted) return Context("control socket", wanted);
  if (Status free = CheckReplaceable(path, *wanted); !free) return Context("control socket", free);
  const std::string made = path + ".new";
  Result<struct sockaddr_un> address = UnixAddress(made);
  if (!address) return Context("control socket", address);
  if (unlink(made.c_str()) < 0 && errno != ENOENT) return SystemError(made, errno);
  Result<UniqueFd> socket = NewSocket(AF_UNIX);
  if (!socket) return Context("control socket", socket);
  // Linux makes the file with the socket's own mode, so that it never has another one.
  if (fchmod(socket->get(), 0600) < 0 ||
      bind(socket->get(), reinterpret_cast<const struct sockaddr*>(&*address), sizeof *address) <
          0) {
    return SystemError("control socket " + made, errno);
  }
  Status ready = OpenToGroup(made, group);
  if (ready && (listen(socket->get(), kBacklog) < 0 || rename(made.c_str(), path.c_str()) < 0)) {
    ready = SystemError("control socket " + path, errno);
  }
  if (!ready) {
    (void)unlink(made.c_str());  // the error that counts is the first one
    return Forward(ready);
  }
  return socket;
}

void RemoveControlSocket(const std::string& path) {
  Result<struct sockaddr_un> address = UnixAddress(path);
  if (!address || !CheckReplaceable(path, *address)) return;
  (void)unlink(path.c_str());  // missing already, or next time's stale file
}

Result<UniqueFd> ListenOnTcp(std::string_view address) {
  const std::string place = "metrics.listen " + std::string(address);
  const size_t colon = address.rfind(':');
  std::string_view host = address.substr(0, colon);
  const std::string port(colon == std::string_view::npos ? "" : address.substr(colon + 1));
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  struct addrinfo hints = {};
  // Numbers only: a name would make the start depend on a resolver.
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_family = bracketed ? AF_INET6 : AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  struct addrinfo* found = nullptr;
  uint16_t number = 0;  // getaddrinfo takes 99999 for 34463
  const auto [end, wrong] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (host.empty() || port.empty() || wrong != std::errc() || end != port.data() + port.size() ||
      getaddrinfo(std::string(host).c_str(), port.c_str(), &hints, &found) != 0) {
    return Refuse(place + ": not an address and a port, as in 127.0.0.1:9464 or [::1]:9464");
  }
  const std::unique_ptr<struct addrinfo, void (*)(struct addrinfo*)> owner(found, freeaddrinfo);
  Result<UniqueFd> socket = NewSocket(found->ai_family);
  if (!socket) return Context(place, socket);
  const int one = 1;
  // A restart must not wait for the last one's connections to be forgotten.
  if (setsockopt(socket->get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
      bind(socket->get(), found->ai_addr, found->ai_addrlen) < 0 ||
      listen(socket->get(), kBacklog) < 0) {
    if (errno != EADDRINUSE) return SystemError(place, errno);
    return Refuse(place + ": another program listens there; choose another port");
  }
  return socket;
}

}  // namespace landgate::agent
