// The serving process's end of the holder.
//
// A table has everything that the holder must have, with descriptors of its own; it is what a new
// holder is given when the old one has died. A reader thread owns the receiving side and makes the
// connection anew; a second thread calls the owner back, so that what it does there may wait for
// the holder.
#include "agent/holder/holder_client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "agent/holder/fd_message.h"
#include "agent/holder/holder_message.h"
#include "agent/holder/holder_start.h"
#include "agent/limits.h"

namespace landgate::agent {
namespace {

using Clock = std::chrono::steady_clock;
using ObjectName = std::pair<Kept, uint64_t>;

constexpr std::chrono::milliseconds kPause{50};  // between two attempts at reaching a holder

struct Arrived {
  HolderMessage message;
  UniqueFd fd;
};

Result<Arrived> Receive(BorrowedFd socket) {
  HolderPacket packet{};
  Result<FdMessage> received = ReceiveWithFds(socket, packet, 1, 0);
  if (!received) return Forward(received);
  if (received->bytes == 0) return SystemError("the holder", ECONNRESET);
  Result<HolderMessage> message = DecodeHolderMessage(std::span(packet).first(received->bytes));
  if (!message) return Forward(message);
  Arrived arrived{*std::move(message), UniqueFd()};
  if (!received->fds.empty()) arrived.fd = std::move(received->fds.front());
  if ((arrived.message.verb == HolderVerb::kObject) != arrived.fd.valid())
    return Refuse("the holder's message and its descriptors don't agree");
  return arrived;
}

Status Send(BorrowedFd socket, const HolderMessage& message, const BorrowedFd* fd) {
  return SendWithFds(socket, EncodeHolderMessage(message),
                     fd == nullptr ? std::span<const BorrowedFd>() : std::span(fd, 1), 0);
}

void LimitWaiting(BorrowedFd socket, int option) {
  const timeval time{.tv_sec = kHolderPatience.count(), .tv_usec = 0};
  (void)setsockopt(socket.get(), SOL_SOCKET, option, &time, sizeof time);  // can't fail
}

UniqueFd Duplicate(BorrowedFd fd) { return UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

// Says hello on a fresh connection and receives what is kept. EBUSY: another process serves.
Result<std::vector<KeptObject>> SayHello(BorrowedFd socket) {
  LimitWaiting(socket, SO_SNDTIMEO);
  LimitWaiting(socket, SO_RCVTIMEO);
  if (Status sent = Send(socket, {.verb = HolderVerb::kHello}, nullptr); !sent)
    return Forward(sent);
  std::vector<KeptObject> objects;
  for (;;) {
    Result<Arrived> arrived = Receive(socket);
    if (!arrived) return Forward(arrived);
    HolderMessage& message = arrived->message;
    if (message.verb == HolderVerb::kReady) return objects;
    if (message.verb == HolderVerb::kBusy) {
      Failure busy =
          Impossible("another landgate-agent serves (process " + std::to_string(message.key) + ")");
      busy.value().error_number = EBUSY;
      return busy;
    }
    if (message.verb != HolderVerb::kObject) return Refuse("the holder speaks out of turn");
    objects.push_back({message.kind, message.key, std::move(message.blob), std::move(arrived->fd)});
  }
}

struct Joined {
  UniqueFd socket;
  std::vector<KeptObject> objects;
};

// Reaches a holder, started here where none answers, and becomes the serving process.
Result<Joined> Join(const std::string& socket_path, const std::string& program,
                    Clock::time_point deadline) {
  for (bool last = false;;) {
    Result<UniqueFd> socket = ConnectToHolder(socket_path);
    std::optional<Error> error;
    if (socket) {
      Result<std::vector<KeptObject>> objects = SayHello(*socket);
      if (objects) return Joined{*std::move(socket), *std::move(objects)};
      if (objects.error().error_number == EBUSY) return Forward(objects);
      error = objects.error();  // it ended, or died, at this very moment
    } else if (socket.error().error_number == 0 || socket.error().error_number == EACCES) {
      return Forward(socket);
    } else {
      error = socket.error();
    }
    if (last) return Failure(*std::move(error));
    last = Clock::now() >= deadline;
    if (socket || (error->error_number != ENOENT && error->error_number != ECONNREFUSED)) {
      std::this_thread::sleep_for(kPause);
    } else if (Status started = StartHolder(program, socket_path); !started) {
      if (last) return Forward(started);
      std::this_thread::sleep_for(kPause);
    }
  }
}

class Client : public Holder {
 public:
  Client(std::string socket_path, std::string program, std::function<void(KeptObject)> connection)
      : socket_path_(std::move(socket_path)),
        program_(std::move(program)),
        connection_(std::move(connection)) {}

  ~Client() override {
    {
      const std::scoped_lock lock(send_mutex_, mutex_);
      stopping_ = true;
      if (socket_.valid()) (void)shutdown(socket_.get(), SHUT_RDWR);
    }
    changed_.notify_all();
    if (reader_.joinable()) reader_.join();
    if (caller_.joinable()) caller_.join();
  }

  Status Begin(Joined joined, std::vector<KeptObject>* predecessor);
  Status Keep(Kept kind, uint64_t key, std::string_view blob, BorrowedFd fd) override;
  void Drop(Kept kind, uint64_t key) override;

 private:
  struct Entry {
    std::string blob;
    UniqueFd fd;
    bool acknowledged = false;
    int refused = 0;  // errno
    uint32_t sequence = 0;
  };

  void ReadForEver();
  bool OnMessage(Arrived arrived);
  bool NoteConnection(KeptObject object);
  void SendIfConnected(const HolderMessage& message, const BorrowedFd* fd);
  void Disconnect();
  bool JoinAgain();
  Status GiveEverything(BorrowedFd socket);
  Status Give(BorrowedFd socket, ObjectName name, Entry& entry);
  void CallForEver();

  const std::string socket_path_, program_;
  const std::function<void(KeptObject)> connection_;

  // Who sends may have to wait for the holder, which may be waiting for the reader to read; so the
  // reader never takes this one while it is connected. Taken before mutex_.
  std::mutex send_mutex_;
  UniqueFd socket_;  // replaced by the reader alone
  bool connected_ = false;

  std::mutex mutex_;  // all that follows
  std::condition_variable changed_;
  bool stopping_ = false;
  uint32_t last_sequence_ = 0;
  std::map<ObjectName, Entry> table_;
  uint64_t last_connection_ = 0;    // the highest key that the holder has given
  std::deque<KeptObject> to_call_;  // connections for the owner

  std::thread reader_, caller_;
};

Status Client::Begin(Joined joined, std::vector<KeptObject>* predecessor) {
  for (KeptObject& object : joined.objects) {
    Entry entry{object.blob, Duplicate(object.fd), true, 0, 0};
    if (!entry.fd.valid()) return SystemError("duplicating what the holder kept", errno);
    if (object.kind == Kept::kConnection) last_connection_ = std::max(last_connection_, object.key);
    table_.emplace(ObjectName{object.kind, object.key}, std::move(entry));
  }
  *predecessor = std::move(joined.objects);
  socket_ = std::move(joined.socket);
  connected_ = true;
  const timeval for_ever{};
  (void)setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof for_ever);
  // Threads inherit the mask: signals are the owner's business.
  sigset_t all, before;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  reader_ = std::thread([this] { ReadForEver(); });
  caller_ = std::thread([this] { CallForEver(); });
  (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

// With no connection, the reader gives everything to the next holder. A failure to send is a broken
// connection, which the reader sees too. With send_mutex_.
void Client::SendIfConnected(const HolderMessage& message, const BorrowedFd* fd) {
  if (connected_ && !Send(socket_, message, fd)) (void)shutdown(socket_.get(), SHUT_RDWR);
}

Status Client::Keep(Kept kind, uint64_t key, std::string_view blob, BorrowedFd fd) {
  const ObjectName name{kind, key};
  if (blob.size() > kMaxBlobBytes) return SystemError("keeping an object with a long blob", E2BIG);
  UniqueFd copy = Duplicate(fd);
  if (!copy.valid()) return SystemError("keeping a descriptor", errno);
  uint32_t sequence;
  {
    const std::lock_guard send_lock(send_mutex_);
    {
      const std::lock_guard lock(mutex_);
      sequence = ++last_sequence_;
      table_[name] = Entry{std::string(blob), std::move(copy), false, 0, sequence};
    }
    SendIfConnected({.verb = HolderVerb::kKeep,
                     .sequence = sequence,
                     .kind = kind,
                     .key = key,
                     .blob = std::string(blob)},
                    &fd);
  }
  std::unique_lock lock(mutex_);
  const auto deadline = Clock::now() + kHolderPatience;
  for (bool late = false;;) {
    const auto at = table_.find(name);
    // Dropped or kept anew by somebody else meanwhile: not this one's business any more.
    if (at == table_.end() || at->second.sequence != sequence)
      return SystemError("keeping an object that was replaced meanwhile", ECANCELED);
    if (at->second.refused != 0) {
      const int error_number = at->second.refused;
      table_.erase(at);
      return SystemError("the holder has no room for a descriptor", error_number);
    }
    if (at->second.acknowledged) return {};
    if (late || stopping_) {
      lock.unlock();
      Drop(kind, key);
      return Impossible("the holder at " + socket_path_ + " does not answer");
    }
    late = changed_.wait_until(lock, deadline) == std::cv_status::timeout;
  }
}

void Client::Drop(Kept kind, uint64_t key) {
  const std::lock_guard send_lock(send_mutex_);
  {
    const std::lock_guard lock(mutex_);
    if (table_.erase({kind, key}) == 0) return;
    changed_.notify_all();
  }
  SendIfConnected({.verb = HolderVerb::kDrop, .kind = kind, .key = key}, nullptr);
}

// With mutex_. False: no room for another descriptor here. The holder has the connection still, and
// gives it again when this process joins it anew.
bool Client::NoteConnection(KeptObject object) {
  Entry entry{object.blob, Duplicate(object.fd), true, 0, 0};
  if (!entry.fd.valid()) return false;
  last_connection_ = std::max(last_connection_, object.key);
  table_.emplace(ObjectName{object.kind, object.key}, std::move(entry));
  to_call_.push_back(std::move(object));
  changed_.notify_all();
  return true;
}

bool Client::OnMessage(Arrived arrived) {
  HolderMessage& message = arrived.message;
  const std::lock_guard lock(mutex_);
  if (message.verb == HolderVerb::kObject && message.kind == Kept::kConnection) {
    return NoteConnection(
        {message.kind, message.key, std::move(message.blob), std::move(arrived.fd)});
  }
  if (message.verb != HolderVerb::kAck) return false;
  const auto at = table_.find({message.kind, message.key});
  if (at == table_.end() || at->second.sequence != message.sequence) return true;
  at->second.acknowledged = message.error == 0;
  at->second.refused = static_cast<int>(message.error);
  changed_.notify_all();
  return true;
}

void Client::Disconnect() {
  const std::lock_guard lock(send_mutex_);
  connected_ = false;
  socket_.Reset();
}

void Client::ReadForEver() {
  for (;;) {
    for (;;) {
      Result<Arrived> arrived = Receive(BorrowedFd(socket_));
      if (!arrived || !OnMessage(*std::move(arrived))) break;
    }
    // It died; or there was no room here for a descriptor (EMFILE), which it gives again.
    Disconnect();
    while (!JoinAgain()) {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, 10 * kPause, [this] { return stopping_; });
      if (stopping_) return;
    }
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
  }
}

// A new holder, or the old one anew. Returns true also when this client is to end.
bool Client::JoinAgain() {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return true;
  }
  Result<Joined> joined = Join(socket_path_, program_, Clock::now() + kPause);
  if (!joined) return false;
  const std::scoped_lock lock(send_mutex_, mutex_);
  if (stopping_) return true;
  for (KeptObject& object : joined->objects) {
    const ObjectName name{object.kind, object.key};
    if (table_.contains(name)) continue;
    if (object.kind == Kept::kConnection && object.key > last_connection_) {
      // Accepted while nobody was connected.
      if (!NoteConnection(std::move(object))) return false;
    } else if (!Send(joined->socket,  // dropped with a message that was lost
                     {.verb = HolderVerb::kDrop, .kind = object.kind, .key = object.key},
                     nullptr)) {
      return false;
    }
  }
  if (!GiveEverything(joined->socket)) return false;
  const timeval for_ever{};
  (void)setsockopt(joined->socket.get(), SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof for_ever);
  socket_ = std::move(joined->socket);
  connected_ = true;
  changed_.notify_all();
  return true;
}

// One by one: a holder that has an answer to send reads nothing. Sockets come last, so that the
// holder knows every connection's key before it makes new ones.
Status Client::GiveEverything(BorrowedFd socket) {
  for (const bool sockets : {false, true}) {
    for (auto& [name, entry] : table_) {
      if ((name.first == Kept::kSocket) != sockets) continue;
      if (Status given = Give(socket, name, entry); !given) return given;
    }
  }
  return {};
}

Status Client::Give(BorrowedFd socket, ObjectName name, Entry& entry) {
  const bool had = entry.acknowledged;
  entry.sequence = entry.sequence == 0 ? ++last_sequence_ : entry.sequence;
  const BorrowedFd fd = entry.fd;
  if (Status sent = Send(socket,
                         {.verb = HolderVerb::kKeep,
                          .sequence = entry.sequence,
                          .kind = name.first,
                          .key = name.second,
                          .blob = entry.blob},
                         &fd);
      !sent) {
    return sent;
  }
  for (;;) {
    Result<Arrived> arrived = Receive(socket);
    if (!arrived) return Forward(arrived);
    HolderMessage& message = arrived->message;
    if (message.verb == HolderVerb::kObject && message.kind == Kept::kConnection) {
      NoteConnection({message.kind, message.key, std::move(message.blob), std::move(arrived->fd)});
    } else if (message.verb == HolderVerb::kAck && message.sequence == entry.sequence) {
      entry.acknowledged = had || message.error == 0;
      if (!had) entry.refused = static_cast<int>(message.error);
      return {};
    }
  }
}

void Client::CallForEver() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !to_call_.empty(); });
    if (stopping_) return;
    KeptObject object = std::move(to_call_.front());
    to_call_.pop_front();
    lock.unlock();
    if (connection_) connection_(std::move(object));
    lock.lock();
  }
}

}  // namespace

Result<std::unique_ptr<Holder>> Holder::Connect(const std::string& socket_path,
                                                const std::string& program,
                                                std::vector<KeptObject>* predecessor,
                                                std::function<void(KeptObject)> connection) {
  Result<Joined> joined = Join(socket_path, program, Clock::now() + kHolderPatience);
  if (!joined) return Context("holder", joined);
  auto client = std::make_unique<Client>(socket_path, program, std::move(connection));
  if (Status begun = client->Begin(*std::move(joined), predecessor); !begun)
    return Context("holder", begun);
  return std::unique_ptr<Holder>(std::move(client));
}

}  // namespace landgate::agent
