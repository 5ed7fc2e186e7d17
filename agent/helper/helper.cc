#include "agent/helper/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "agent/helper/helper_message.h"
#include "agent/helper/once_table.h"
#include "agent/holder/fd_message.h"
#include "agent/limits.h"
#include "agent/notify/area.h"
#include "base/result.h"

namespace landgate::agent {
namespace {

// From a terminal, a service manager, or the file system it works on. It ends when its requester
// does, and not before it has finished.
constexpr int kIgnored[] = {SIGHUP,  SIGINT,  SIGTERM, SIGPIPE, SIGXFSZ,
                            SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2};

constexpr size_t kMostBytes = sizeof(HelperRequestHeader) + kMaxHelperRequestBytes;

struct Request {
  HelperRequestHeader header;
  std::string_view bytes;
};

std::optional<Request> Decode(std::span<const std::byte> packet) {
  Request request;
  if (packet.size() < sizeof request.header) return std::nullopt;
  std::memcpy(&request.header, packet.data(), sizeof request.header);
  packet = packet.subspan(sizeof request.header);
  if (request.header.bytes != packet.size()) return std::nullopt;
  request.bytes = {reinterpret_cast<const char*>(packet.data()), packet.size()};
  return request;
}

int64_t Perform(const NamedOperation& operation, const Request& request,
                const std::vector<UniqueFd>& fds) {
  return operation.perform({request.bytes, fds});
}

OnceRecord* RecordOf(Area* area, const HelperRequestHeader& header) {
  if (area == nullptr || header.region >= kMaxListeners || header.record >= kOnceRecords)
    return nullptr;
  return &area->At(header.region).once[header.record];
}

HelperAnswer Obey(std::span<const NamedOperation> operations, Area* area, const Request& request,
                  const std::vector<UniqueFd>& fds) {
  HelperAnswer answer{.number = request.header.number};
  if (request.header.operation >= operations.size()) return answer;
  const NamedOperation& operation = operations[request.header.operation];
  if (request.header.once == 0) {
    answer.value = Perform(operation, request, fds);
    answer.performed = 1;
    return answer;
  }
  OnceRecord* const record = RecordOf(area, request.header);
  if (record == nullptr || !OnceTable::Start(*record, request.header.claim)) return answer;
  const int64_t value = Perform(operation, request, fds);
  // Results of system calls that have side effects are numbers of bytes and the like.
  const int32_t recorded =
      value < INT32_MIN || value > INT32_MAX ? -EOVERFLOW : static_cast<int32_t>(value);
  OnceTable::Finish(*record, request.header.claim, recorded);
  answer.value = recorded;
  answer.performed = 1;
  return answer;
}

}  // namespace

int HelperMain(std::span<const NamedOperation> operations) {
  for (const int ignored : kIgnored) (void)signal(ignored, SIG_IGN);
  (void)prctl(PR_SET_NAME, "landgate-help");
  struct stat status {};
  if (fstat(kHelperChannel, &status) < 0 || !S_ISSOCK(status.st_mode)) {
    std::fputs("landgate-agent helper: is started by landgate-agent alone\n", stderr);
    return static_cast<int>(ExitStatus::kUsage);
  }
  // Whoever started the agent may have left something open in it.
  (void)close_range(kHelperArea + 1, ~0U, 0);
  const UniqueFd channel(kHelperChannel);
  (void)fcntl(kHelperChannel, F_SETFD, FD_CLOEXEC);
  std::optional<Area> area;
  if (fcntl(kHelperArea, F_SETFD, FD_CLOEXEC) == 0) {
    Result<Area> opened = Area::Open(UniqueFd(kHelperArea));
    if (!opened) {
      std::fprintf(stderr, "landgate-agent helper: %s\n", opened.error().message.c_str());
      return static_cast<int>(opened.error().status);
    }
    area.emplace(*std::move(opened));
  }
  std::vector<std::byte> packet(kMostBytes);
  for (;;) {
    Result<FdMessage> received = ReceiveWithFds(channel, packet, kMaxHelperFds, 0);
    if (!received || received->bytes == 0) return 0;  // the requester has gone
    const std::optional<Request> request = Decode(std::span(packet).first(received->bytes));
    if (!request) return static_cast<int>(ExitStatus::kRefused);
    const HelperAnswer answer = Obey(operations, area ? &*area : nullptr, *request, received->fds);
    // Nobody may be there any more; requests that were sent before are still performed.
    (void)SendWithFds(channel, std::as_bytes(std::span(&answer, 1)), {}, MSG_DONTWAIT);
    if (answer.performed != 0 && operations[request->header.operation].spends_helper) return 0;
  }
}

}  // namespace landgate::agent
