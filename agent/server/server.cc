#include "agent/server/server.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "agent/control/audit_log.h"
#include "agent/control/control_api.h"
#include "agent/control/control_socket.h"
#include "agent/control/events.h"
#include "agent/control/metrics_text.h"
#include "agent/helper/helper_pool.h"
#include "agent/holder/holder_confine.h"
#include "agent/holder/holder_message.h"
#include "agent/limits.h"
#include "agent/log.h"
#include "agent/notify/metrics.h"
#include "agent/server/agent_socket.h"
#include "agent/server/arrivals.h"
#include "agent/server/confine_self.h"
#include "agent/server/launcher_start.h"
#include "agent/server/listeners.h"
#include "agent/server/loop.h"
#include "agent/server/mask_watch.h"
#include "agent/server/predecessor.h"
#include "agent/server/registry.h"
#include "agent/server/service_manager.h"
#include "base/files.h"
#include "base/paths.h"

namespace landgate::agent {
namespace {

// What is open however little is served: sockets, logs, epoll, the holder, threads' helpers.
constexpr size_t kOwnDescriptors = 64;

class Server {
 public:
  Server(const node::Config& config, spdlog::logger& log) : config_(config), log_(log) {}

  Status Start();
  void Run();

 private:
  Status OpenOutputs();
  Status TakeOver(std::vector<KeptObject> kept);
  Status OpenArea(UniqueFd memfd, bool needed);
  void StartHelpers();
  void RestoreContainers(Predecessor& predecessor);
  void RestoreListeners(Predecessor& predecessor);
  Status OpenSocket(std::vector<KeptObject> predecessors);
  void RestoreConnections(Predecessor& predecessor);
  void Arrive(uint64_t key, uint64_t accepted_on, UniqueFd socket, UniqueFd spool);
  Status StartControl();
  Status WatchSignals();
  void OnSignal();
  void WatchProcess(const Container& container);
  void ForgetProcess(const Container& container);
  Status Deliver(Message message, uint64_t connection);
  Status Register(RegisterMessage message);
  void LeaveSockets();
  void RefusedPeer(const std::string& why);
  void FeedWatchdogEvery(std::chrono::microseconds interval);
  std::string Summary() const;

  const node::Config& config_;
  spdlog::logger& log_;
  Events events_;
  Metrics metrics_;
  std::unique_ptr<Area> area_;
  std::unique_ptr<AuditLog> audit_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Holder> holder_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Listeners> listeners_;
  std::unique_ptr<Arrivals> arrivals_;
  std::unique_ptr<HelperPool> helpers_;
  std::unique_ptr<LauncherStarts> launchers_;
  std::unique_ptr<MaskWatch> masks_;
  std::set<uint64_t> own_sockets_;  // in the holder: the agent's, all others are launchers'
  UniqueFd signals_;
  UniqueFd control_socket_, metrics_socket_;
  std::unique_ptr<ControlApi> control_;
  std::map<uint64_t, Loop::Token> processes_;  // container → watch of its pidfd
};

// Blocked before any thread exists, so that none of them ever takes one.
sigset_t OwnSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

Status Server::OpenOutputs() {
  AuditLogOptions options;
  options.file = config_.audit.file;
  options.max_bytes = config_.audit.max_bytes;
  options.keep = static_cast<unsigned>(config_.audit.keep);
  options.events = &events_;
  options.complain = [this](const std::string& line) { log_.error("audit log: {}", line); };
  Result<std::unique_ptr<AuditLog>> audit = AuditLog::Open(std::move(options));
  if (!audit) return Context("audit log", audit);
  audit_ = std::move(*audit);
  return {};
}

Status Server::Start() {
  const sigset_t own = OwnSignals();
  if (sigprocmask(SIG_BLOCK, &own, nullptr) != 0) return SystemError("sigprocmask", errno);
  IgnoreWriteSignals();
  RaiseDescriptorLimit();
  if (Status fit = CheckNotificationSizes(); !fit) return fit;
  (void)ReceiveEndsWithLastProcess();  // tries it once, with a fork that the filter would not like
  for (const std::string* path :
       {&config_.agent_socket, &config_.control_socket, &config_.holder_socket}) {
    if (Status made = MakeDirectories(std::string(Parent(*path)), 0755); !made) return made;
  }
  if (Status ours = CheckOwnDirectories(config_); !ours) return ours;
  // While there still is the right to give the socket to its group.
  Result<UniqueFd> control = ListenOnControlSocket(config_.control_socket);
  if (!control) return Forward(control);
  control_socket_ = std::move(*control);
  if (config_.metrics_listen) {
    Result<UniqueFd> metrics = ListenOnTcp(*config_.metrics_listen);
    if (!metrics) return Forward(metrics);
    metrics_socket_ = std::move(*metrics);
  }
  if (Status dropped = DropPrivileges(); !dropped) return dropped;
  if (Status loaded = LoadOwnFilter(); !loaded) return loaded;

  Result<std::unique_ptr<Loop>> loop = Loop::Make();
  if (!loop) return Forward(loop);
  loop_ = std::move(*loop);
  if (Status watched = WatchSignals(); !watched) return watched;
  std::vector<KeptObject> kept;
  Result<std::unique_ptr<Holder>> holder =
      Holder::Connect(config_.holder_socket, "/proc/self/exe", &kept, [this](KeptObject object) {
        auto shared = std::make_shared<KeptObject>(std::move(object));
        loop_->Post([this, shared] {
          const Result<uint64_t> socket = DecodeSocketKey(shared->blob);
          Arrive(shared->key, socket ? *socket : 0, std::move(shared->fd), {});
        });
      });
  if (!holder) return Context("holder", holder);
  holder_ = std::move(*holder);
  if (Status open = OpenOutputs(); !open) return open;
  if (Status taken = TakeOver(std::move(kept)); !taken) return taken;
  if (Status started = StartControl(); !started) return started;
  const size_t descriptors = DescriptorLimit();
  log_.info("{} descriptors: room for about {} listeners", descriptors,
            std::min<size_t>(kMaxListeners,
                             descriptors > kOwnDescriptors ? descriptors - kOwnDescriptors : 0));
  return {};
}

// A predecessor's that this version can't read is no loss where no listener has anything in it.
Status Server::OpenArea(UniqueFd memfd, bool needed) {
  const bool inherited = memfd.valid();
  Result<Area> area = inherited ? Area::Open(std::move(memfd)) : Area::Create();
  const bool made = !inherited || (!area && !needed);
  if (!area && made && inherited) area = Area::Create();
  if (!area) return Forward(area);
  area_ = std::make_unique<Area>(std::move(*area));
  if (!made) return {};
  return holder_->Keep(Kept::kArea, 0, {}, area_->memfd());
}

Status Server::TakeOver(std::vector<KeptObject> kept) {
  Predecessor predecessor = Sort(std::move(kept));
  if (Status open = OpenArea(std::move(predecessor.area), !predecessor.listeners.empty()); !open) {
    return open;
  }
  const Services services{
      .area = area_.get(), .holder = holder_.get(), .audit = audit_.get(), .metrics = &metrics_};
  registry_ = std::make_unique<Registry>(
      services,
      Registry::Callbacks{.added = [this](const Container& container) { WatchProcess(container); },
                          .removed =
                              [this](const Container& container) {
                                ForgetProcess(container);
                                masks_->Remove(container.key);
                              }});
  listeners_ = std::make_unique<Listeners>(services, *registry_, *loop_, log_);
  arrivals_ = std::make_unique<Arrivals>(
      *loop_, *holder_,
      [this](Message message, uint64_t connection) {
        return Deliver(std::move(message), connection);
      },
      [this](const std::string& why) { RefusedPeer(why); });
  StartHelpers();
  for (const auto& [kind, key] : predecessor.leftovers) holder_->Drop(kind, key);
  RestoreContainers(predecessor);
  RestoreListeners(predecessor);
  if (Status open = OpenSocket(std::move(predecessor.sockets)); !open) return open;
  RestoreConnections(predecessor);
  return {};
}

void Server::StartHelpers() {
  HelperPool::Options options;
  options.command = {"/proc/self/exe", "helper"};
  options.area = area_->memfd();
  helpers_ = std::make_unique<HelperPool>(std::move(options));
  masks_ = std::make_unique<MaskWatch>(*loop_, *helpers_, *audit_, log_);
  launchers_ = std::make_unique<LauncherStarts>(
      *loop_, *holder_, *helpers_, *audit_, log_,
      [this](uint64_t connection, UniqueFd socket, const std::string& container) {
        arrivals_->Add(connection, std::move(socket), {}, container);
      });
}

// From a runtime, a hook, or a launcher that stands on its container's entrypoint.
void Server::Arrive(uint64_t key, uint64_t accepted_on, UniqueFd socket, UniqueFd spool) {
  if (own_sockets_.contains(accepted_on)) {
    return arrivals_->Add(key, std::move(socket), std::move(spool));
  }
  if (launchers_->Owns(accepted_on)) {
    return launchers_->Start(accepted_on, key, std::move(socket));
  }
  // Its launcher was taken off already; whether it was told so nobody knows.
  const Result<Peer> peer = PeerOf(socket);
  const ContainerPtr container = peer ? registry_->ByProcess(peer->pid) : nullptr;
  if (container && !container->registration.over_mounts.empty()) {
    return launchers_->Resume(key, std::move(socket), *container);
  }
  holder_->Drop(Kept::kConnection, key);
}

void Server::RestoreConnections(Predecessor& predecessor) {
  for (auto& [key, connection] : predecessor.connections) {
    Arrive(key, connection.accepted_on, std::move(connection.socket), std::move(connection.spool));
  }
  for (const Predecessor::KeptConnection& connection : predecessor.delivered) {
    if (!own_sockets_.contains(connection.accepted_on)) Arrivals::TellKept(connection.socket);
  }
}

void Server::RestoreContainers(Predecessor& predecessor) {
  for (auto& [key, container] : predecessor.containers) {
    const Status restored =
        registry_->Restore(key, container.registration, std::move(container.process),
                           std::move(container.mount_namespace));
    if (restored) continue;
    log_.error("container {} is not served any more, its calls answer ENOSYS: {}",
               Printable(container.id), Printable(restored.error().message));
    for (const Kept kind : {Kept::kContainer, Kept::kProcess, Kept::kMountNamespace}) {
      holder_->Drop(kind, key);
    }
  }
}

void Server::RestoreListeners(Predecessor& predecessor) {
  for (KeptObject& listener : predecessor.listeners) {
    UniqueFd session;
    const auto kept = predecessor.sessions.find(listener.key);
    if (kept != predecessor.sessions.end()) session = std::move(kept->second);
    if (Status restored = listeners_->Restore(std::move(listener), std::move(session)); !restored) {
      log_.error("a listener is not served any more: {}", Printable(restored.error().message));
    }
  }
  listeners_->FreeUnusedRegions();
}

// The predecessor's socket where it can still be reached: then there is no moment without one.
Status Server::OpenSocket(std::vector<KeptObject> predecessors) {
  const std::string there = SocketIdentity(config_.agent_socket);
  bool reachable = false;
  for (const KeptObject& socket : predecessors) {
    const ContainerPtr started = LauncherStarts::IsLauncherSocket(socket.blob)
                                     ? registry_->ByKey(LauncherStarts::ContainerOf(socket.blob))
                                     : nullptr;
    if (started) {
      launchers_->Restore(socket.key, socket.blob, started);
    } else if (!there.empty() && socket.blob == there) {
      reachable = true;
      own_sockets_.insert(socket.key);
    } else {
      holder_->Drop(Kept::kSocket, socket.key);
    }
  }
  predecessors.clear();
  if (reachable) return {};
  const Result<UniqueFd> socket = ListenOnAgentSocket(config_.agent_socket);
  if (!socket) return Context("agentSocket", Error(socket.error()));
  const uint64_t key = area_->NextKey();
  own_sockets_.insert(key);
  return holder_->Keep(Kept::kSocket, key, SocketIdentity(config_.agent_socket), *socket);
}

Status Server::StartControl() {
  ControlSources sources;
  sources.inventory = registry_.get();
  sources.events = &events_;
  sources.metrics = [this] {
    return MetricsText({.metrics = &metrics_, .audit = audit_.get(), .inventory = registry_.get()});
  };
  Result<std::unique_ptr<ControlApi>> control =
      ControlApi::Start(std::move(control_socket_), std::move(metrics_socket_), std::move(sources));
  if (!control) return Context("control API", control);
  control_ = std::move(*control);
  return {};
}

Status Server::WatchSignals() {
  const sigset_t own = OwnSignals();
  signals_ = UniqueFd(signalfd(-1, &own, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return SystemError("signalfd", errno);
  Result<Loop::Token> watched = loop_->Watch(signals_, EPOLLIN, [this](uint32_t) { OnSignal(); });
  if (!watched) return Forward(watched);
  return {};
}

void Server::OnSignal() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGHUP) {
      TellReloading();
      audit_->Reopen();
      log_.info("SIGHUP: the audit log is opened again");
      TellReady(Summary());
    } else {
      loop_->Stop();
    }
  }
}

void Server::WatchProcess(const Container& container) {
  const uint64_t key = container.key;
  if (const ContainerPtr added = registry_->ByKey(key)) masks_->Add(added);
  Result<Loop::Token> watched = loop_->Watch(container.process, EPOLLIN, [this, key](uint32_t) {
    // Level triggered, and it stays dead.
    if (const ContainerPtr ended = registry_->ByKey(key)) ForgetProcess(*ended);
    registry_->ProcessEnded(key);
  });
  if (watched) {
    processes_[key] = *watched;
  } else {
    log_.error("container {}: its end will not be noticed: {}", container.id(),
               watched.error().message);
  }
}

void Server::ForgetProcess(const Container& container) {
  launchers_->Forget(container.key);
  const auto watched = processes_.find(container.key);
  if (watched == processes_.end()) return;
  loop_->Unwatch(watched->second, container.process);
  processes_.erase(watched);
}

Status Server::Deliver(Message message, uint64_t connection) {
  if (auto* listener = std::get_if<ListenerMessage>(&message)) {
    return listeners_->Admit(std::move(*listener), connection);
  }
  if (auto* registration = std::get_if<RegisterMessage>(&message)) {
    return Register(std::move(*registration));
  }
  registry_->Unregister(std::get<UnregisterMessage>(message).id);
  return {};
}

Status Server::Register(RegisterMessage message) {
  const std::string id = message.registration.id;
  if (Status registered =
          registry_->Register(std::move(message.registration), std::move(message.process),
                              std::move(message.mount_namespace));
      !registered || !message.launcher_socket.valid()) {
    return registered;
  }
  Status expected =
      launchers_->Expect(area_->NextKey(), registry_->ById(id), message.launcher_socket);
  if (!expected) registry_->Unregister(id);
  return expected;
}

// Where no container waits for a successor, nothing shall look as if an agent were there: a hook
// that was accepted would wait for an answer that nobody gives.
void Server::LeaveSockets() {
  if (registry_->containers() != 0 || listeners_->foreign() != 0) return;
  for (const uint64_t key : own_sockets_) holder_->Drop(Kept::kSocket, key);
}

void Server::RefusedPeer(const std::string& why) { log_.warn("refused: {}", why); }

std::string Server::Summary() const {
  return std::to_string(registry_->containers()) + " containers, " +
         std::to_string(registry_->listeners()) + " listeners";
}

void Server::FeedWatchdogEvery(std::chrono::microseconds interval) {
  FeedWatchdog();
  TellStatus(Summary());
  loop_->After(interval, [this, interval] { FeedWatchdogEvery(interval); });
}

void Server::Run() {
  if (const auto interval = WatchdogInterval()) FeedWatchdogEvery(*interval);
  TellReady(Summary());
  log_.info("serving {}", Summary());
  (void)!printf("landgate-agent: ready: listening on %s\n", config_.agent_socket.c_str());
  (void)fflush(stdout);
  loop_->Run();
  TellStopping();
  log_.info("stopping; {} stay with the holder", Summary());
  control_.reset();
  RemoveControlSocket(config_.control_socket);
  LeaveSockets();
  audit_->Flush();
}

}  // namespace

Status Serve(const node::Config& config, spdlog::logger& log) {
  // Never destroyed: listeners' threads are in the middle of calls, and what they were at is in the
  // shared area for a successor. Ending the process is all that a stop needs, just like a kill.
  auto* server = new Server(config, log);
  if (Status started = server->Start(); !started) return started;
  server->Run();
  _exit(0);
}

}  // namespace landgate::agent
