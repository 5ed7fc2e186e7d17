#include "agent/control/control_server.h"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>

#include "agent/control/control_json.h"
#include "agent/limits.h"

namespace landgate::agent {
namespace {

constexpr const char* kJsonType = "application/json";
// https://prometheus.io/docs/instrumenting/exposition_formats/
constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr size_t kStreamBlock = 16384;
constexpr std::chrono::seconds kPatience{kControlTimeoutSeconds};

struct DestroyResponse {
  void operator()(struct MHD_Response* response) const { MHD_destroy_response(response); }
};
using Response = std::unique_ptr<struct MHD_Response, DestroyResponse>;

std::string ErrorText(const std::string& message) {
  return JsonText(policy::Json::object({{"error", message}}));
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::Start(UniqueFd listening, Surface surface,
                                                            unsigned max_connections,
                                                            const ControlSources& sources,
                                                            std::function<void()> wake) {
  std::unique_ptr<ControlServer> server(new ControlServer(surface, sources, std::move(wake)));
  void* self = server.get();
  server->daemon_.reset(MHD_start_daemon(
      MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, &OnRequest, self,
      MHD_OPTION_LISTEN_SOCKET, listening.get(),                    //
      MHD_OPTION_CONNECTION_LIMIT, max_connections,                 //
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, kMaxControlRequestBytes,  //
      MHD_OPTION_CONNECTION_TIMEOUT, kControlTimeoutSeconds,        //
      MHD_OPTION_URI_LOG_CALLBACK, &OnTarget, self,                 //
      MHD_OPTION_NOTIFY_COMPLETED, static_cast<MHD_RequestCompletedCallback>(&OnCompleted), self,
      MHD_OPTION_NOTIFY_CONNECTION, static_cast<MHD_NotifyConnectionCallback>(&OnConnection), self,
      MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END));
  if (!server->daemon_) return SystemError("control API: libmicrohttpd", errno);
  (void)listening.Release();  // the daemon closes it
  const union MHD_DaemonInfo* info =
      MHD_get_daemon_info(server->daemon_.get(), MHD_DAEMON_INFO_EPOLL_FD);
  if (info == nullptr) return Impossible("control API: libmicrohttpd has no epoll here");
  server->epoll_ = info->epoll_fd;
  return server;
}

ControlServer::~ControlServer() {
  // None may be suspended when the daemon stops.
  for (Connection& connection : connections_) {
    connection.gone = true;
    if (connection.suspended) Resume(connection);
  }
  daemon_.reset();
}

void ControlServer::AddTo(std::vector<struct pollfd>& descriptors) const {
  descriptors.push_back({epoll_, POLLIN, 0});
  // libmicrohttpd does not look at what is suspended, and whoever hung up would keep their place.
  for (const Connection& connection : connections_) {
    if (connection.suspended) descriptors.push_back({connection.fd, 0, 0});
  }
}

ControlServer::Clock::time_point ControlServer::NextDue() const {
  const Clock::time_point now = Clock::now();
  MHD_UNSIGNED_LONG_LONG milliseconds = 0;
  Clock::time_point due = Clock::time_point::max();
  if (MHD_get_timeout(daemon_.get(), &milliseconds) == MHD_YES) {
    due = now + std::chrono::milliseconds(
                    std::min<MHD_UNSIGNED_LONG_LONG>(milliseconds, kControlTimeoutSeconds * 1000));
  }
  for (const Connection& connection : connections_) {
    if (!connection.stream) due = std::min(due, connection.deadline);
    if (connection.suspended) due = std::min(due, now + kEventHeartbeat);
  }
  return due;
}

void ControlServer::Run(const std::vector<struct pollfd>& descriptors) {
  const Clock::time_point now = Clock::now();
  const auto hung_up = [&](int fd) {
    return std::any_of(descriptors.begin(), descriptors.end(), [fd](const struct pollfd& entry) {
      return entry.fd == fd && (entry.revents & (POLLHUP | POLLERR)) != 0;
    });
  };
  for (Connection& connection : connections_) {
    if (!connection.suspended) continue;
    connection.gone = hung_up(connection.fd);
    const bool woken = connection.stream->TakeWoken();
    if (connection.gone || woken || connection.stream->HeartbeatDue(now)) Resume(connection);
  }
  // It looks whether there is room for a new connection before it closes old ones; so that nobody
  // waits in vain, it looks again. (MHD_NO: not run by us, which is settled at the start.)
  size_t before = 0;
  do {
    before = connections_.size();
    (void)MHD_run(daemon_.get());
  } while (connections_.size() < before);
  for (Connection& connection : connections_) {
    if (connection.stream || connection.deadline > now) continue;
    // Whatever it is doing byte by byte ends now; the next MHD_run closes it.
    (void)shutdown(connection.fd, SHUT_RDWR);
    connection.deadline = now + kPatience;
  }
}

void ControlServer::Resume(Connection& connection) {
  connection.suspended = false;
  MHD_resume_connection(connection.handle);
}

size_t ControlServer::Streams() const {
  return static_cast<size_t>(
      std::count_if(connections_.begin(), connections_.end(),
                    [](const Connection& connection) { return connection.stream != nullptr; }));
}

MHD_Result ControlServer::Answer(Connection& connection, const char* method) {
  const auto request = ParseControlRequest(method, connection.target, surface_);
  if (!request) {
    return AnswerText(connection, request.error().status, ErrorText(request.error().message),
                      kJsonType);
  }
  switch (request->endpoint) {
    case Endpoint::kContainers:
      return AnswerText(connection, MHD_HTTP_OK,
                        JsonText(ContainersJson(sources_.inventory->Containers())), kJsonType);
    case Endpoint::kContainer:
    case Endpoint::kPolicy:
      return AnswerContainer(connection, *request);
    case Endpoint::kEvents:
      return AnswerEvents(connection, request->filter);
    case Endpoint::kMetrics:
      return AnswerText(connection, MHD_HTTP_OK, sources_.metrics(), kMetricsType);
    case Endpoint::kVersion:
      break;
  }
  return AnswerText(connection, MHD_HTTP_OK, JsonText(VersionJson()), kJsonType);
}

MHD_Result ControlServer::AnswerContainer(Connection& connection, const ControlRequest& request) {
  const std::optional<ContainerSnapshot> found = sources_.inventory->Find(request.container);
  if (!found) {
    return AnswerText(connection, MHD_HTTP_NOT_FOUND,
                      ErrorText(request.container + ": no such container"), kJsonType);
  }
  const policy::Json json =
      request.endpoint == Endpoint::kPolicy ? ContainerPolicyJson(*found) : ContainerJson(*found);
  return AnswerText(connection, MHD_HTTP_OK, JsonText(json), kJsonType);
}

MHD_Result ControlServer::AnswerText(Connection& connection, unsigned status,
                                     const std::string& body, const char* content_type) {
  // The const_cast is the interface's: it copies.
  const Response response(MHD_create_response_from_buffer(
      body.size(), const_cast<char*>(body.data()), MHD_RESPMEM_MUST_COPY));
  if (!response) return MHD_NO;
  (void)MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
  (void)MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
    (void)MHD_add_response_header(response.get(), MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  }
  return MHD_queue_response(connection.handle, status, response.get());
}

MHD_Result ControlServer::AnswerEvents(Connection& connection, const EventFilter& filter) {
  if (Streams() >= kMaxEventReaders) {
    return AnswerText(
        connection, MHD_HTTP_SERVICE_UNAVAILABLE,
        ErrorText("events have " + std::to_string(kMaxEventReaders) + " readers already"),
        kJsonType);
  }
  const Response response(MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, kStreamBlock, &OnFill,
                                                            &connection, nullptr));
  if (!response) return MHD_NO;
  (void)MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
  (void)MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  connection.stream = std::make_unique<ControlStream>(*sources_.events, filter, wake_);
  return MHD_queue_response(connection.handle, MHD_HTTP_OK, response.get());
}

ssize_t ControlServer::OnFill(void* context, uint64_t, char* buffer, size_t space) {
  auto& connection = *static_cast<Connection*>(context);
  if (connection.gone) return MHD_CONTENT_READER_END_WITH_ERROR;
  const size_t count = connection.stream->Fill(buffer, space, Clock::now());
  if (count > 0) return static_cast<ssize_t>(count);
  connection.suspended = true;
  MHD_suspend_connection(connection.handle);
  return 0;
}

namespace {

// What OnConnection has put there.
void* ContextOf(struct MHD_Connection* handle) {
  const union MHD_ConnectionInfo* info =
      MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info == nullptr ? nullptr : info->socket_context;
}

bool HasBody(struct MHD_Connection* handle) {
  const auto has = [&](const char* header) {
    return MHD_lookup_connection_value(handle, MHD_HEADER_KIND, header) != nullptr;
  };
  return has(MHD_HTTP_HEADER_CONTENT_LENGTH) || has(MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

}  // namespace

void* ControlServer::OnTarget(void*, const char* target, struct MHD_Connection* handle) {
  if (auto* connection = static_cast<Connection*>(ContextOf(handle))) connection->target = target;
  return nullptr;
}

MHD_Result ControlServer::OnRequest(void* self, struct MHD_Connection* handle, const char*,
                                    const char* method, const char*, const char*, size_t*,
                                    void** context) {
  auto* connection = static_cast<Connection*>(ContextOf(handle));
  if (connection == nullptr) return MHD_NO;
  // Called when the headers are there, and again when the whole request is. An answer to the first
  // call ends the connection: for a body, which nothing here takes, so that it is never read.
  if (*context == nullptr && !HasBody(handle)) {
    *context = connection;
    return MHD_YES;
  }
  return static_cast<ControlServer*>(self)->Answer(*connection, method);
}

void ControlServer::OnCompleted(void*, struct MHD_Connection* handle, void**,
                                enum MHD_RequestTerminationCode) {
  auto* connection = static_cast<Connection*>(ContextOf(handle));
  if (connection == nullptr) return;
  connection->stream.reset();
  connection->target.clear();
  connection->deadline = Clock::now() + kPatience;  // for the next one
}

void ControlServer::OnConnection(void* self, struct MHD_Connection* handle, void** context,
                                 enum MHD_ConnectionNotificationCode what) {
  auto& connections = static_cast<ControlServer*>(self)->connections_;
  if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
    connections.remove_if([&](const Connection& entry) { return &entry == *context; });
    *context = nullptr;
    return;
  }
  const union MHD_ConnectionInfo* info =
      MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
  connections.push_back(
      {handle, info == nullptr ? -1 : info->connect_fd, Clock::now() + kPatience, "", nullptr});
  *context = &connections.back();
}

}  // namespace landgate::agent
