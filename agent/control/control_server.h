// One HTTP server of the control API: a libmicrohttpd daemon on one listening socket, run by the
// caller's event loop (control_api.cc). For one thread.
#ifndef LANDGATE_AGENT_CONTROL_CONTROL_SERVER_H_
#define LANDGATE_AGENT_CONTROL_CONTROL_SERVER_H_

#include <microhttpd.h>
#include <poll.h>

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "agent/control/control_api.h"
#include "agent/control/control_request.h"
#include "agent/control/control_stream.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class ControlServer {
 public:
  using Clock = std::chrono::steady_clock;

  // `wake` makes the event loop call Run soon; called from any thread. `sources` outlives it.
  static Result<std::unique_ptr<ControlServer>> Start(UniqueFd listening, Surface surface,
                                                      unsigned max_connections,
                                                      const ControlSources& sources,
                                                      std::function<void()> wake);
  ~ControlServer();  // closes every connection
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // What the loop has to wait for.
  void AddTo(std::vector<struct pollfd>& descriptors) const;
  Clock::time_point NextDue() const;
  // Does what can be done without waiting. `descriptors`: what AddTo put there, after poll.
  void Run(const std::vector<struct pollfd>& descriptors);

 private:
  struct Connection {
    struct MHD_Connection* handle;
    int fd;
    Clock::time_point deadline;  // of the request and its answer; streams have none
    std::string target;          // of the request in hand
    std::unique_ptr<ControlStream> stream;
    bool suspended = false;  // the stream has nothing to say
    bool gone = false;       // its reader has hung up
  };
  struct StopDaemon {
    void operator()(struct MHD_Daemon* daemon) const { MHD_stop_daemon(daemon); }
  };

  ControlServer(Surface surface, const ControlSources& sources, std::function<void()> wake)
      : surface_(surface), sources_(sources), wake_(std::move(wake)) {}

  MHD_Result Answer(Connection& connection, const char* method);
  MHD_Result AnswerText(Connection& connection, unsigned status, const std::string& body,
                        const char* content_type);
  MHD_Result AnswerEvents(Connection& connection, const EventFilter& filter);
  MHD_Result AnswerContainer(Connection& connection, const ControlRequest& request);
  void Resume(Connection& connection);
  size_t Streams() const;

  // libmicrohttpd's callbacks.
  static void* OnTarget(void* self, const char* target, struct MHD_Connection* handle);
  static MHD_Result OnRequest(void* self, struct MHD_Connection* handle, const char* url,
                              const char* method, const char* version, const char* upload,
                              size_t* upload_size, void** context);
  static void OnCompleted(void* self, struct MHD_Connection* handle, void** context,
                          enum MHD_RequestTerminationCode how);
  static void OnConnection(void* self, struct MHD_Connection* handle, void** context,
                           enum MHD_ConnectionNotificationCode what);
  static ssize_t OnFill(void* connection, uint64_t position, char* buffer, size_t space);

  const Surface surface_;
  const ControlSources& sources_;
  const std::function<void()> wake_;
  std::list<Connection> connections_;
  int epoll_ = -1;  // the daemon's
  std::unique_ptr<struct MHD_Daemon, StopDaemon> daemon_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_CONTROL_CONTROL_SERVER_H_
