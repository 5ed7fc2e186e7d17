#include "hook/init/over_mounted.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string_view>

#include "base/files.h"
#include "hook/init/find_program.h"
#include "sandbox/plan.h"

namespace landgate::init {
namespace {

constexpr size_t kLongestLine = 4096;
constexpr std::string_view kReady = "ready ";

// One line without its end; a peer that hangs up before is an error.
Result<std::string> ReadLine(BorrowedFd socket) {
  std::string line;
  while (line.size() < kLongestLine) {
    char byte = 0;
    const ssize_t count = read(socket.get(), &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return SystemError("the agent", errno);
    if (count == 0) return Refuse("the agent let go of the container; its log says why");
    if (byte == '\n') return line;
    line += byte;
  }
  return Refuse("the agent's answer is too long");
}

Status SendWithDescriptor(BorrowedFd socket, std::string_view bytes, BorrowedFd descriptor) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int number = descriptor.get();
  memcpy(CMSG_DATA(header), &number, sizeof number);
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket.get(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return SystemError("the agent", errno);
  // The descriptor went with the first byte.
  return WriteAll(socket, bytes.substr(static_cast<size_t>(sent)));
}

}  // namespace

Result<AgentConnection> AgentConnection::Open() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return SystemError("socket", errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, sandbox::kAgentSocketPath.data(), sandbox::kAgentSocketPath.size());
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    const std::string what(sandbox::kAgentSocketPath);
    return Impossible(what + ": no agent (" + Reason(errno) +
                      "); this container was prepared by the prestart hook alone, which needs it");
  }
  Result<std::string> line = ReadLine(socket);
  if (!line) return Forward(line);
  if (!line->starts_with(kReady)) return Refuse("the agent: " + *line);
  return AgentConnection(std::move(socket), line->substr(kReady.size()));
}

Status AgentConnection::SendListener(UniqueFd listener) {
  const std::string state =
      R"({"ociVersion":"1.0.2","fds":["seccompFd"],"pid":0,"metadata":"landgate",)"
      R"("state":{"ociVersion":"1.0.2","id":")" +
      id_ + R"(","status":"creating","pid":0,"bundle":"/"}})";
  if (Status sent = SendWithDescriptor(socket_, state, listener); !sent) return sent;
  listener.Reset();
  Result<std::string> line = ReadLine(socket_);
  // Said twice where the agent was replaced in between.
  while (line && line->starts_with(kReady)) line = ReadLine(socket_);
  if (!line) return Forward(line);
  if (*line != "kept") return Refuse("the agent: " + *line);
  return {};
}

const char* ExecutedPath() {
  const unsigned long value = getauxval(AT_EXECFN);
  return reinterpret_cast<const char*>(value);  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace landgate::init
