#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>

#include "base/files.h"
#include "node/registration.h"
#include "policy/json_reader.h"

namespace landgate::node {
namespace {

using std::chrono::steady_clock;

constexpr size_t kMaxAnswerBytes = 65536;
constexpr uid_t kOverflowUid = 65534;  // the host's root, in a user namespace that doesn't map it

int MillisecondsUntil(steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

// False: the deadline passed.
bool Wait(BorrowedFd fd, short events, steady_clock::time_point deadline) {
  while (true) {
    pollfd entry{fd.get(), events, 0};
    const int ready = poll(&entry, 1, MillisecondsUntil(deadline));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// Whoever else could make a socket there would be believed that a container is registered.
bool IsTrusted(BorrowedFd connection) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return false;
  if (peer.uid == 0 || peer.uid == geteuid()) return true;
  return peer.uid == kOverflowUid && InRootlessUserNamespace();
}

// Sends what fits; descriptors go with the first byte. EAGAIN: the agent reads slowly.
ssize_t SendSome(BorrowedFd connection, std::string_view bytes, std::span<const int> fds) {
  iovec io{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(3 * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  return sendmsg(connection.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// An agent that refuses may answer and close before it has read everything: then its answer counts,
// and not the failure to write.
Status Send(BorrowedFd connection, std::string_view bytes, std::span<const int> fds,
            steady_clock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = SendSome(connection, bytes, fds);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
      fds = {};
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET) return {};
    if (errno != EAGAIN) return SystemError("agent: sendmsg", errno);
    if (!Wait(connection, POLLOUT, deadline)) {
      return Impossible("the agent took no message in time; see its log");
    }
  }
  (void)shutdown(connection.get(), SHUT_WR);  // fails where the agent has closed already
  return {};
}

Result<std::string> ReceiveAnswer(BorrowedFd connection, steady_clock::time_point deadline) {
  std::string answer;
  std::array<char, 4096> bytes;
  while (answer.size() <= kMaxAnswerBytes) {
    const ssize_t count = recv(connection.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count == 0) break;
    if (count > 0) {
      answer.append(bytes.data(), static_cast<size_t>(count));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == ECONNRESET) break;
    if (errno != EAGAIN) return SystemError("agent: recv", errno);
    if (!Wait(connection, POLLIN, deadline)) {
      return Impossible("the agent did not answer in time; see its log");
    }
  }
  if (answer.empty()) return Impossible("the agent closed without an answer; see its log");
  if (answer.size() > kMaxAnswerBytes) return Impossible("the agent's answer is too long");
  return answer;
}

Status JudgeAnswer(std::string_view text) {
  Result<policy::Json> json =
      policy::ParseJson(text, "the agent's answer", policy::Comments::kRefused);
  if (!json) return Forward(json);
  const policy::JsonCursor root(*json, "the agent's answer");
  if (Status ok = root.Only({"ok", "error"}); !ok) return ok;
  if (root.Has("error")) {
    Result<std::string> message = root.At("error").String();
    if (!message) return Forward(message);
    return Refuse("the agent refuses: " + *message);
  }
  if (!root.Has("ok")) return root.Fail("neither ok nor error");
  Result<bool> ok = root.At("ok").Bool();
  if (!ok) return Forward(ok);
  if (!*ok) return root.At("ok").Fail("must be true");
  return {};
}

Status Ask(UniqueFd connection, std::string_view request, std::span<const int> fds,
           std::chrono::milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  if (Status ok = Send(connection, request, fds, deadline); !ok) return ok;
  Result<std::string> answer = ReceiveAnswer(connection, deadline);
  if (!answer) return Forward(answer);
  return JudgeAnswer(*answer);
}

}  // namespace

UniqueFd ConnectToAgent(const std::string& agent_socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (agent_socket.empty() || agent_socket.size() >= sizeof address.sun_path) return UniqueFd();
  memcpy(address.sun_path, agent_socket.data(), agent_socket.size());
  UniqueFd connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!connection.valid()) return UniqueFd();
  // A full backlog is an agent that is busy: connect(2) waits as long as an answer would.
  const timeval patience{kAgentPatience.count(), 0};
  (void)setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  int connected = 0;
  do {
    connected =
        connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (connected < 0 && errno == EINTR);
  if (connected < 0 || !IsTrusted(connection)) return UniqueFd();
  return connection;
}

bool AgentAnswers(const std::string& agent_socket) { return ConnectToAgent(agent_socket).valid(); }

Status RegisterWithAgent(UniqueFd connection, const Registration& registration, BorrowedFd process,
                         BorrowedFd mount_namespace, BorrowedFd launcher_socket) {
  const std::string request =
      R"({"landgate":{"register":)" + EncodeRegistration(registration) + "}}";
  const std::array<int, 3> all = {process.get(), mount_namespace.get(), launcher_socket.get()};
  const std::span<const int> fds(all);
  return Ask(std::move(connection), request, fds.first(registration.over_mounts.empty() ? 2 : 3),
             kAgentPatience);
}

Status RegisterWithAgent(const std::string& agent_socket, const Registration& registration,
                         BorrowedFd process, BorrowedFd mount_namespace) {
  UniqueFd connection = ConnectToAgent(agent_socket);
  if (!connection.valid()) {
    return Impossible("no agent answers on " + agent_socket + "; start landgate-agent");
  }
  return RegisterWithAgent(std::move(connection), registration, process, mount_namespace);
}

Status UnregisterFromAgent(const std::string& agent_socket, const std::string& id,
                           std::chrono::milliseconds patience) {
  UniqueFd connection = ConnectToAgent(agent_socket);
  if (!connection.valid()) return {};
  policy::Json request = policy::Json::object();
  request["landgate"]["unregister"]["id"] = id;
  return Ask(std::move(connection),
             request.dump(-1, ' ', false, policy::Json::error_handler_t::replace), {}, patience);
}

}  // namespace landgate::node
