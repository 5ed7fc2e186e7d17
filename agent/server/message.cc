#include "agent/server/message.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>

#include "base/files.h"
#include "policy/json_reader.h"

namespace landgate::agent {
namespace {

using policy::Json;
using policy::JsonCursor;

constexpr std::string_view kHookKey = "\"landgate\"";
constexpr std::string_view kListenerName = "seccompFd";
constexpr size_t kMaxProcBytes = 4096;

template <class T>
std::optional<T> NumberAt(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

bool IsListener(BorrowedFd fd) {
  std::array<char, 64> name;
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  const ssize_t length = readlink(link.c_str(), name.data(), name.size());
  return length > 0 &&
         std::string_view(name.data(), static_cast<size_t>(length)) == "anon_inode:seccomp notify";
}

bool IsListening(BorrowedFd fd) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value != 0;
}

Result<Message> DecodeListener(std::string_view json, std::vector<UniqueFd> fds) {
  Result<oci::ContainerProcessState> process = oci::DecodeContainerProcessState(json);
  if (!process) return Forward(process);
  const auto name = std::find(process->fds.begin(), process->fds.end(), kListenerName);
  if (name == process->fds.end()) {
    return Refuse("seccomp listener: /fds: names no " + std::string(kListenerName));
  }
  const auto index = static_cast<size_t>(name - process->fds.begin());
  if (index >= fds.size()) {
    return Refuse("seccomp listener: /fds names " + std::to_string(process->fds.size()) +
                  " descriptors, " + std::to_string(fds.size()) + " came");
  }
  if (!IsListener(fds[index])) {
    return Refuse("seccomp listener: the descriptor that /fds calls seccompFd is no listener");
  }
  return ListenerMessage{std::move(*process), std::move(fds[index])};
}

Result<Message> DecodeRegister(const JsonCursor& object, std::vector<UniqueFd> fds) {
  Result<node::Registration> registration = node::DecodeRegistration(object.value().dump());
  if (!registration) return Forward(registration);
  const bool has_socket = !registration->over_mounts.empty();
  if (fds.size() != (has_socket ? 3 : 2)) {
    return Refuse(
        "registration: must come with a pidfd and a mount namespace, with a socket where there are "
        "over-mounts, and with no other");
  }
  if (has_socket && !IsListening(fds[2])) {
    return Refuse("registration of " + registration->id +
                  ": the third descriptor is no listening socket");
  }
  Result<ProcessIdentity> process = IdentityOf(fds[0]);
  if (!process) return Context("registration of " + registration->id, process);
  if (process->start_time != registration->start_time) {
    return Refuse("registration of " + registration->id +
                  ": the pidfd belongs to another process than the one that is named");
  }
  registration->pid = process->pid;
  if (ioctl(fds[1].get(), NS_GET_NSTYPE) != CLONE_NEWNS) {
    return Refuse("registration of " + registration->id +
                  ": the second descriptor is no mount namespace");
  }
  RegisterMessage message{std::move(*registration), std::move(fds[0]), std::move(fds[1]), {}};
  if (has_socket) message.launcher_socket = std::move(fds[2]);
  return message;
}

Result<Message> DecodeHook(std::string_view json, std::vector<UniqueFd> fds) {
  Result<Json> document = policy::ParseJson(json, "hook", policy::Comments::kRefused);
  if (!document) return Forward(document);
  const JsonCursor root(*document, "hook");
  if (Status ok = root.Only({"landgate"}); !ok) return Forward(ok);
  const JsonCursor request = root.At("landgate");
  if (Status ok = request.Only({"register", "unregister"}); !ok) return Forward(ok);
  if (request.Has("register") == request.Has("unregister")) {
    return request.Fail("must have either \"register\" or \"unregister\"");
  }
  if (request.Has("register")) return DecodeRegister(request.At("register"), std::move(fds));
  const JsonCursor unregister = request.At("unregister");
  if (Status ok = unregister.Only({"id"}); !ok) return Forward(ok);
  if (!unregister.Has("id")) return unregister.Fail("the container's id is missing");
  Result<std::string> id = unregister.At("id").String();
  if (!id) return Forward(id);
  return UnregisterMessage{std::move(*id)};
}

}  // namespace

bool IsFromHook(std::string_view json) {
  const size_t key = json.find_first_not_of(" \t\r\n", json.find('{') + 1);
  return key != std::string_view::npos && json.substr(key).starts_with(kHookKey);
}

Result<Message> DecodeMessage(std::string_view json, std::vector<UniqueFd> fds) {
  if (IsFromHook(json)) return DecodeHook(json, std::move(fds));
  return DecodeListener(json, std::move(fds));
}

std::string EncodeAnswer(const Status& outcome) {
  Json answer = Json::object();
  if (outcome) {
    answer["ok"] = true;
  } else {
    answer["error"] = outcome.error().message;
  }
  return answer.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool HasEnded(BorrowedFd pidfd) {
  pollfd poll_fd{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLIN | POLLERR | POLLNVAL)) != 0;
}

Result<ProcessIdentity> IdentityOf(BorrowedFd pidfd) {
  Result<std::string> info =
      ReadFile("/proc/self/fdinfo/" + std::to_string(pidfd.get()), kMaxProcBytes);
  if (!info) return Forward(info);
  const size_t line = info->find("\nPid:\t");
  if (line == std::string::npos) return Refuse("the descriptor is no pidfd");
  ProcessIdentity identity;
  identity.pid = NumberAt<pid_t>(std::string_view(*info).substr(line + 6)).value_or(-1);
  if (identity.pid <= 0) return Impossible("the process has ended, or is not visible from here");

  Result<std::string> stat =
      ReadFile("/proc/" + std::to_string(identity.pid) + "/stat", kMaxProcBytes);
  if (!stat) return Forward(stat);
  // The name in field 2 may have anything in it but ends with the last ')'; starttime is field 22.
  size_t at = stat->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat->find(' ', at + 1);
  if (at == std::string::npos) return Refuse("/proc/PID/stat has no start time");
  const auto start = NumberAt<uint64_t>(std::string_view(*stat).substr(at + 1));
  if (!start) return Refuse("/proc/PID/stat has no start time");
  identity.start_time = *start;
  // The number was this process's all the time if it still runs.
  if (HasEnded(pidfd)) return Impossible("the process has ended");
  return identity;
}

}  // namespace landgate::agent
