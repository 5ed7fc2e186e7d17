#include "agent/holder/holder_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "agent/holder/fd_message.h"
#include "agent/holder/holder_message.h"
#include "agent/holder/holder_peer.h"

namespace landgate::agent {
namespace {

using Clock = std::chrono::steady_clock;

// What an epoll event is about; the rest of its 64 bits is an id that is never used twice, so an
// event of something that was closed earlier in the same batch finds nothing.
enum class Source : uint64_t { kOwnSocket = 1, kSignals, kPeer, kServingProcess, kKeptSocket };
constexpr int kSourceShift = 56;

uint64_t Tag(Source source, uint64_t id) {
  return static_cast<uint64_t>(source) << kSourceShift | id;
}

using ObjectName = std::pair<Kept, uint64_t>;

struct Object {
  std::string blob;
  UniqueFd fd;
  uint64_t watch = 0;  // of a kSocket: its id in the epoll set
};

// What waits to be sent: an object by name (it may be dropped meanwhile) or a message without one.
using Item = std::variant<ObjectName, HolderMessage>;

struct Peer {
  UniqueFd socket;
  HolderPeer who;
  enum class State { kNew, kWaiting, kServing } state = State::kNew;
  Clock::time_point deadline;  // of kNew and kWaiting
  std::deque<Item> out;
  uint32_t events = 0;  // what epoll looks for
  bool doomed = false;  // closed when what is in `out` has been sent
};

// Transient lack of memory, or too many descriptors of this user on their way (unix(7)).
bool MayWorkLater(int error_number) {
  return error_number == ETOOMANYREFS || error_number == ENOBUFS || error_number == ENOMEM;
}
constexpr std::chrono::milliseconds kLater{20};

// Whether a container would miss it. The area and the sockets are made again by any server. What
// still lies in a connection is of no container that lives: one that does was registered before,
// and its registration is kept.
bool IsForAContainer(Kept kind) {
  switch (kind) {
    case Kept::kArea:
    case Kept::kSocket:
    case Kept::kConnection:
    case Kept::kPartial:
      return false;
    case Kept::kContainer:
    case Kept::kProcess:
    case Kept::kMountNamespace:
    case Kept::kListener:
    case Kept::kSession:
    case Kept::kClone:
      break;
  }
  return true;  // and kinds of another version
}

size_t MostObjects(size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
  const size_t descriptors = limit.rlim_cur;
  return std::min(wanted, descriptors > kHolderReservedFds ? descriptors - kHolderReservedFds : 0);
}

// Keys of connections are never used twice, also not by a holder that is started in the place of
// this one: nobody accepts one a nanosecond.
uint64_t FirstConnectionKey() {
  timespec now{};
  (void)clock_gettime(CLOCK_BOOTTIME, &now);  // can't fail
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

struct HolderLoop::Impl {
  Options options;
  UniqueFd epoll, listening, signals;
  std::map<ObjectName, Object> objects;
  size_t connections = 0;
  size_t containers_objects = 0;  // IsForAContainer
  std::map<uint64_t, Peer> peers;
  std::map<uint64_t, ObjectName> watches;
  uint64_t last_id = 0;
  uint64_t next_connection = FirstConnectionKey();
  bool accepting = true;        // the kept sockets are in the epoll set
  bool accepting_peers = true;  // ours is
  bool asked_to_end = false;
  Clock::time_point retry_at = Clock::time_point::max();
  Clock::time_point idle_since = Clock::now();

  struct Serving {
    HolderPeer who;
    uint64_t id;    // of its pidfd in the epoll set
    uint64_t peer;  // 0: not connected
  };
  std::optional<Serving> serving;

  bool Watch(int fd, Source source, uint64_t id, uint32_t events, int operation) {
    epoll_event event{events, {.u64 = Tag(source, id)}};
    return epoll_ctl(epoll.get(), operation, fd, &event) == 0;
  }
  void RetryLater() { retry_at = std::min(retry_at, Clock::now() + kLater); }

  // --- what is kept
  size_t Capacity() const { return MostObjects(options.max_objects); }
  int Keep(ObjectName name, std::string blob, UniqueFd fd);
  void Drop(ObjectName name);
  void Forget(std::map<ObjectName, Object>::iterator at);
  int StartWatching(ObjectName name, Object& object);
  void ArmSockets(bool armed);
  void AcceptOn(uint64_t watch);
  void AddConnection(UniqueFd socket, uint64_t socket_key);

  // --- peers
  void AcceptPeers();
  void Add(UniqueFd socket);
  void Close(std::map<uint64_t, Peer>::iterator at);
  void Close(uint64_t id) {
    if (const auto at = peers.find(id); at != peers.end()) Close(at);
  }
  enum class Got { kMessage, kNothing, kClose };
  Got Read(uint64_t id, Peer& peer);
  void DrainAndClose(std::map<uint64_t, Peer>::iterator at);
  bool Obey(uint64_t id, Peer& peer, HolderMessage message, std::vector<UniqueFd> fds);
  void Answer(Peer& peer, HolderMessage message) { peer.out.emplace_back(std::move(message)); }
  bool Flush(uint64_t id, Peer& peer);
  void OnPeer(uint64_t id, uint32_t events);
  void Admit(uint64_t id, Peer& peer);
  void OnServingProcess(uint64_t id);
  void ReadSignals();
  void OnDeadlines();
  void OnEvent(const epoll_event& event);
  Clock::time_point NextDeadline() const;
  // When it has been so for options.idle. Who connects to the kept sockets meanwhile does not make
  // it longer: with nobody to serve, they would wait for nothing.
  bool MayEnd() const { return !options.stay && containers_objects == 0 && peers.empty(); }
  bool Finished() const;
};

// --- what is kept
// ---------------------------------------------------------------------------------

int HolderLoop::Impl::StartWatching(ObjectName name, Object& object) {
  int accepts = 0;
  socklen_t size = sizeof accepts;
  if (getsockopt(object.fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) < 0) return errno;
  if (accepts == 0) return EINVAL;
  // The description is shared with the serving process; nobody is to wait in accept(2).
  const int flags = fcntl(object.fd.get(), F_GETFL);
  if (flags < 0 || fcntl(object.fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) return errno;
  const uint64_t id = ++last_id;
  if (accepting && !Watch(object.fd.get(), Source::kKeptSocket, id, EPOLLIN, EPOLL_CTL_ADD))
    return errno;
  object.watch = id;
  watches.emplace(id, name);
  return 0;
}

int HolderLoop::Impl::Keep(ObjectName name, std::string blob, UniqueFd fd) {
  auto at = objects.find(name);
  if (at == objects.end() && objects.size() >= Capacity()) return EMFILE;
  Object object{std::move(blob), std::move(fd)};
  if (name.first == Kept::kSocket) {
    if (const int error_number = StartWatching(name, object); error_number != 0)
      return error_number;
  }
  if (at != objects.end()) Forget(at);
  if (name.first == Kept::kConnection) {
    ++connections;
    next_connection = std::max(next_connection, name.second + 1);
  }
  if (IsForAContainer(name.first)) ++containers_objects;
  objects.emplace(name, std::move(object));
  return 0;
}

void HolderLoop::Impl::Forget(std::map<ObjectName, Object>::iterator at) {
  const Object& object = at->second;
  if (object.watch != 0) {
    // Closing would not do it: the serving process has the same description.
    (void)epoll_ctl(epoll.get(), EPOLL_CTL_DEL, object.fd.get(), nullptr);
    watches.erase(object.watch);
  }
  if (at->first.first == Kept::kConnection) --connections;
  if (IsForAContainer(at->first.first) && --containers_objects == 0) idle_since = Clock::now();
  objects.erase(at);
}

void HolderLoop::Impl::Drop(ObjectName name) {
  const auto at = objects.find(name);
  if (at == objects.end()) return;
  Forget(at);
  if (!accepting && connections < options.max_connections && objects.size() < Capacity())
    ArmSockets(true);
}

void HolderLoop::Impl::ArmSockets(bool armed) {
  if (accepting == armed) return;
  accepting = armed;
  for (const auto& [id, name] : watches) {
    const int fd = objects.at(name).fd.get();
    if (armed) {
      if (!Watch(fd, Source::kKeptSocket, id, EPOLLIN, EPOLL_CTL_ADD)) RetryLater();
    } else {
      (void)epoll_ctl(epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
    }
  }
}

void HolderLoop::Impl::AddConnection(UniqueFd socket, uint64_t socket_key) {
  const ObjectName name{Kept::kConnection, next_connection};
  if (Keep(name, EncodeSocketKey(socket_key), std::move(socket)) != 0) return;
  if (!serving || serving->peer == 0) return;
  const auto at = peers.find(serving->peer);
  at->second.out.emplace_back(name);
  if (!Flush(at->first, at->second)) DrainAndClose(at);
}

void HolderLoop::Impl::AcceptOn(uint64_t watch) {
  constexpr int kAtATime = 64;  // then others have their turn
  for (int i = 0; i < kAtATime; ++i) {
    const auto at = watches.find(watch);
    if (at == watches.end()) return;
    if (connections >= options.max_connections || objects.size() >= Capacity())
      return ArmSockets(false);
    const ObjectName name = at->second;
    UniqueFd socket(accept4(objects.at(name).fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.valid()) {
      AddConnection(std::move(socket), name.second);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return;
    if (errno == EMFILE || errno == ENFILE || MayWorkLater(errno)) {
      ArmSockets(false);
      return RetryLater();
    }
    // Shut down by its owner: it will not accept any more, and must not wake us for ever.
    (void)epoll_ctl(epoll.get(), EPOLL_CTL_DEL, objects.at(name).fd.get(), nullptr);
    return;
  }
}

// --- peers
// ----------------------------------------------------------------------------------------

void HolderLoop::Impl::AcceptPeers() {
  while (peers.size() < kMaxHolderPeers) {
    UniqueFd socket(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.valid()) {
      Add(std::move(socket));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN) RetryLater();
    if (errno == EAGAIN) return;
    break;
  }
  accepting_peers = false;
  (void)Watch(listening.get(), Source::kOwnSocket, 0, 0, EPOLL_CTL_MOD);
}

void HolderLoop::Impl::Add(UniqueFd socket) {
  Result<HolderPeer> who = IdentifyPeer(socket);
  if (!who) return;  // closed, unanswered
  const uint64_t id = ++last_id;
  if (!Watch(socket.get(), Source::kPeer, id, EPOLLIN, EPOLL_CTL_ADD)) return;
  Peer peer;
  peer.socket = std::move(socket);
  peer.who = *std::move(who);
  peer.deadline = Clock::now() + kHolderPeerPatience;
  peer.events = EPOLLIN;
  peers.emplace(id, std::move(peer));
}

void HolderLoop::Impl::Close(std::map<uint64_t, Peer>::iterator at) {
  if (serving && serving->peer == at->first) serving->peer = 0;
  peers.erase(at);
  if (peers.empty()) idle_since = Clock::now();
  if (!accepting_peers) {
    accepting_peers = true;
    (void)Watch(listening.get(), Source::kOwnSocket, 0, EPOLLIN, EPOLL_CTL_MOD);
  }
}

void HolderLoop::Impl::Admit(uint64_t id, Peer& peer) {
  const uint64_t process = ++last_id;
  if (!Watch(peer.who.process.get(), Source::kServingProcess, process, EPOLLIN, EPOLL_CTL_ADD)) {
    peer.doomed = true;
    return;
  }
  serving = Serving{{peer.who.pid, std::move(peer.who.process)}, process, id};
  peer.state = Peer::State::kServing;
  for (const auto& [name, object] : objects) peer.out.emplace_back(name);
  Answer(peer, {.verb = HolderVerb::kReady});
}

// False: the peer is to be closed.
bool HolderLoop::Impl::Obey(uint64_t id, Peer& peer, HolderMessage message,
                            std::vector<UniqueFd> fds) {
  const bool is_serving = peer.state == Peer::State::kServing;
  if (message.verb == HolderVerb::kKeep && is_serving && fds.size() == 1) {
    const int error_number =
        Keep({message.kind, message.key}, std::move(message.blob), std::move(fds.front()));
    Answer(peer, {.verb = HolderVerb::kAck,
                  .sequence = message.sequence,
                  .kind = message.kind,
                  .error = static_cast<uint32_t>(error_number),
                  .key = message.key});
    return true;
  }
  if (!fds.empty()) return false;
  if (message.verb == HolderVerb::kDrop && is_serving) {
    Drop({message.kind, message.key});
    return true;
  }
  if (message.verb != HolderVerb::kHello || peer.state != Peer::State::kNew) return false;
  // A serving process that has lost its connection comes again; its pid can't be another's while
  // its pidfd says that it lives.
  const bool returns = serving && serving->peer == 0 && serving->who.pid == peer.who.pid;
  if (!serving || returns) {
    Admit(id, peer);
  } else {
    peer.state = Peer::State::kWaiting;
    peer.deadline = Clock::now() + options.predecessor_patience;
  }
  return true;
}

// Reads one message, if there is one.
HolderLoop::Impl::Got HolderLoop::Impl::Read(uint64_t id, Peer& peer) {
  HolderPacket packet{};
  Result<FdMessage> received = ReceiveWithFds(peer.socket, packet, 1, MSG_DONTWAIT);
  // Said once, before what is still in the queue, of a peer that died with something unread.
  if (!received && received.error().error_number == ECONNRESET)
    received = ReceiveWithFds(peer.socket, packet, 1, MSG_DONTWAIT);
  const int error_number = received ? 0 : received.error().error_number;
  if (error_number == EAGAIN) return Got::kNothing;
  if (error_number != 0 && error_number != EMFILE) return Got::kClose;
  // Without room for its descriptor here, the message is there all the same.
  const size_t bytes = received ? received->bytes : packet.size();
  if (bytes == 0) return Got::kClose;
  Result<HolderMessage> message = DecodeHolderMessage(std::span(packet).first(bytes));
  if (!message) return Got::kClose;
  if (received) {
    const bool obeyed = Obey(id, peer, *std::move(message), std::move(received->fds));
    return obeyed ? Got::kMessage : Got::kClose;
  }
  if (message->verb != HolderVerb::kKeep || peer.state != Peer::State::kServing) return Got::kClose;
  Answer(peer,
         {.verb = HolderVerb::kAck, .sequence = message->sequence, .error = uint32_t{EMFILE}});
  return Got::kMessage;
}

// What a process sent before it died counts, however its death is noticed first: a descriptor that
// it gave is kept, what it dropped is not handed over.
void HolderLoop::Impl::DrainAndClose(std::map<uint64_t, Peer>::iterator at) {
  do {
    at->second.out.clear();
  } while (Read(at->first, at->second) == Got::kMessage);
  Close(at);
}

// Sends what it can without waiting. False: the peer is to be closed.
bool HolderLoop::Impl::Flush(uint64_t id, Peer& peer) {
  bool blocked = false;
  while (!peer.out.empty() && !blocked) {
    Status sent;
    if (const auto* name = std::get_if<ObjectName>(&peer.out.front())) {
      const auto at = objects.find(*name);
      if (at != objects.end()) {
        const HolderPacket packet = EncodeHolderMessage({.verb = HolderVerb::kObject,
                                                         .kind = name->first,
                                                         .key = name->second,
                                                         .blob = at->second.blob});
        const BorrowedFd fd = at->second.fd;
        sent = SendWithFds(peer.socket, packet, std::span(&fd, 1), MSG_DONTWAIT);
      }
    } else {
      sent =
          SendWithFds(peer.socket, EncodeHolderMessage(std::get<HolderMessage>(peer.out.front())),
                      {}, MSG_DONTWAIT);
    }
    if (sent) {
      peer.out.pop_front();
    } else if (sent.error().error_number == EAGAIN || MayWorkLater(sent.error().error_number)) {
      if (sent.error().error_number != EAGAIN) RetryLater();
      blocked = true;
    } else {
      return false;
    }
  }
  if (peer.doomed && peer.out.empty()) return false;
  // Nothing is read from a peer that has something to receive.
  const uint32_t wanted = peer.out.empty() ? uint32_t{EPOLLIN} : uint32_t{EPOLLOUT};
  if (wanted != peer.events) {
    peer.events = wanted;
    return Watch(peer.socket.get(), Source::kPeer, id, wanted, EPOLL_CTL_MOD);
  }
  return true;
}

void HolderLoop::Impl::OnPeer(uint64_t id, uint32_t events) {
  const auto at = peers.find(id);
  if (at == peers.end()) return;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return DrainAndClose(at);
  Peer& peer = at->second;
  if (peer.out.empty() && Read(id, peer) == Got::kClose) return Close(at);
  if (!Flush(id, peer)) DrainAndClose(at);
}

void HolderLoop::Impl::OnServingProcess(uint64_t id) {
  if (!serving || serving->id != id) return;
  if (const auto at = peers.find(serving->peer); at != peers.end()) DrainAndClose(at);
  serving.reset();
  for (auto& [peer_id, peer] : peers) {
    if (peer.state != Peer::State::kWaiting) continue;
    Admit(peer_id, peer);
    if (!Flush(peer_id, peer)) DrainAndClose(peers.find(peer_id));
    return;
  }
}

void HolderLoop::Impl::ReadSignals() {
  signalfd_siginfo info;
  while (read(signals.get(), &info, sizeof info) == sizeof info) asked_to_end = true;
}

void HolderLoop::Impl::OnEvent(const epoll_event& event) {
  const uint64_t id = event.data.u64 & ((uint64_t{1} << kSourceShift) - 1);
  switch (static_cast<Source>(event.data.u64 >> kSourceShift)) {
    case Source::kOwnSocket:
      return AcceptPeers();
    case Source::kSignals:
      return ReadSignals();
    case Source::kPeer:
      return OnPeer(id, event.events);
    case Source::kServingProcess:
      return OnServingProcess(id);
    case Source::kKeptSocket:
      return AcceptOn(id);
  }
}

// --- time
// -----------------------------------------------------------------------------------------

bool HolderLoop::Impl::Finished() const {
  if (asked_to_end && containers_objects == 0) return true;
  return MayEnd() && Clock::now() - idle_since >= options.idle;
}

Clock::time_point HolderLoop::Impl::NextDeadline() const {
  Clock::time_point next = retry_at;
  for (const auto& [id, peer] : peers) {
    if (peer.state != Peer::State::kServing) next = std::min(next, peer.deadline);
  }
  if (MayEnd()) next = std::min(next, idle_since + options.idle);
  return next;
}

void HolderLoop::Impl::OnDeadlines() {
  const auto now = Clock::now();
  std::vector<uint64_t> over;
  for (auto& [id, peer] : peers) {
    if (peer.state == Peer::State::kServing || peer.deadline > now) continue;
    if (peer.state == Peer::State::kWaiting && !peer.doomed) {
      const pid_t pid = serving ? serving->who.pid : 0;
      Answer(peer, {.verb = HolderVerb::kBusy, .key = static_cast<uint64_t>(pid)});
      peer.doomed = true;
      peer.deadline = now + kHolderPeerPatience;
      if (Flush(id, peer)) continue;
    }
    over.push_back(id);
  }
  for (const uint64_t id : over) Close(id);
  if (retry_at > now) return;
  retry_at = Clock::time_point::max();
  if (connections < options.max_connections && objects.size() < Capacity()) ArmSockets(true);
  if (!accepting_peers && peers.size() < kMaxHolderPeers) {
    accepting_peers = true;
    (void)Watch(listening.get(), Source::kOwnSocket, 0, EPOLLIN, EPOLL_CTL_MOD);
  }
  std::vector<uint64_t> ids;
  for (const auto& [id, peer] : peers) ids.push_back(id);
  for (const uint64_t id : ids) {
    const auto at = peers.find(id);
    if (at != peers.end() && !Flush(id, at->second)) DrainAndClose(at);
  }
}

// --- the interface
// --------------------------------------------------------------------------------

Result<HolderLoop> HolderLoop::Create(UniqueFd listening, UniqueFd signals,
                                      const Options& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->listening = std::move(listening);
  impl->signals = std::move(signals);
  impl->epoll = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!impl->epoll.valid()) return SystemError("epoll_create1", errno);
  if (!impl->Watch(impl->listening.get(), Source::kOwnSocket, 0, EPOLLIN, EPOLL_CTL_ADD))
    return SystemError("watching the holder's socket", errno);
  if (impl->signals.valid() &&
      !impl->Watch(impl->signals.get(), Source::kSignals, 0, EPOLLIN, EPOLL_CTL_ADD))
    return SystemError("watching the holder's signals", errno);
  return HolderLoop(std::move(impl));
}

HolderLoop::HolderLoop(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HolderLoop::~HolderLoop() = default;
HolderLoop::HolderLoop(HolderLoop&& other) noexcept = default;

void HolderLoop::AddPeer(UniqueFd socket) { impl_->Add(std::move(socket)); }
size_t HolderLoop::kept() const { return impl_->objects.size(); }
size_t HolderLoop::peers() const { return impl_->peers.size(); }

Result<bool> HolderLoop::Step(std::chrono::milliseconds timeout) {
  if (impl_->Finished()) return false;
  const auto next = impl_->NextDeadline();
  if (next != Clock::time_point::max()) {
    const auto left = std::max(std::chrono::milliseconds(0),
                               std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()));
    if (timeout.count() < 0 || left < timeout) timeout = left;
  }
  std::array<epoll_event, 64> events;
  const int count = epoll_wait(impl_->epoll.get(), events.data(), static_cast<int>(events.size()),
                               static_cast<int>(timeout.count()));
  if (count < 0 && errno != EINTR) return SystemError("waiting for events", errno);
  for (int i = 0; i < count; ++i) impl_->OnEvent(events[static_cast<size_t>(i)]);
  impl_->OnDeadlines();
  return !impl_->Finished();
}

}  // namespace landgate::agent
