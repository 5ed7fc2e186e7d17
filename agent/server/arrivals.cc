#include "agent/server/arrivals.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <new>
#include <utility>

#include "agent/limits.h"
#include "agent/log.h"

namespace landgate::agent {
namespace {

// No room for descriptors: others may end meanwhile.
constexpr std::chrono::milliseconds kTryAgain{100};
constexpr int kMaxTries = 100;

bool MayTalk(const Peer& peer) { return peer.uid == 0 || peer.uid == geteuid(); }

void Answer(BorrowedFd socket, const std::string& text) {
  // A few hundred bytes into an empty buffer. A hook that has gone needs no answer.
  (void)send(socket.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)shutdown(socket.get(), SHUT_WR);
}

// Bytes that were only looked at: closing on them would reset the connection, and the peer would
// lose its answer.
void Drain(BorrowedFd socket) {
  std::array<char, 65536> bytes;
  size_t drained = 0;
  while (drained <= kMaxStateBytes) {
    const ssize_t got = recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EINTR)) return;
    if (got > 0) drained += static_cast<size_t>(got);
  }
}

}  // namespace

Result<Arrivals::Open> Arrivals::Admit(uint64_t key, UniqueFd socket, UniqueFd spool,
                                       std::string launcher_of) {
  Result<Peer> peer = PeerOf(socket);
  if (!peer) return Forward(peer);
  if (launcher_of.empty() && !MayTalk(*peer)) {
    return landgate::Refuse("uid " + std::to_string(peer->uid) + " (pid " +
                            std::to_string(peer->pid) +
                            ") may not talk to the agent: root and the agent's own user may");
  }
  if (open_.size() >= kMaxConnections) {
    return landgate::Refuse("more than " + std::to_string(kMaxConnections) + " connections");
  }
  if (!spool.valid()) {
    Connection connection(key, std::move(socket),
                          [this, key](BorrowedFd fd) { return KeepSpool(key, fd); });
    return Open{
        .connection = std::move(connection), .peer = *peer, .launcher_of = std::move(launcher_of)};
  }
  Result<Connection> connection = Connection::Resume(key, std::move(socket), std::move(spool));
  if (!connection) return Forward(connection);
  ++spools_;
  return Open{
      .connection = std::move(*connection), .peer = *peer, .launcher_of = std::move(launcher_of)};
}

Status Arrivals::KeepSpool(uint64_t key, BorrowedFd spool) {
  if (spools_ >= kMaxSpools) {
    return landgate::Refuse("more than " + std::to_string(kMaxSpools) +
                            " long messages are on their way");
  }
  if (Status kept = holder_.Keep(Kept::kPartial, key, {}, spool); !kept) return Forward(kept);
  ++spools_;
  return {};
}

void Arrivals::Add(uint64_t key, UniqueFd socket, UniqueFd spool, std::string launcher_of) {
  Result<Open> admitted = Admit(key, std::move(socket), std::move(spool), std::move(launcher_of));
  if (!admitted) {
    refused_(admitted.error().message);
    holder_.Drop(Kept::kPartial, key);
    holder_.Drop(Kept::kConnection, key);
    return;
  }
  Open& open = open_.insert_or_assign(key, std::move(*admitted)).first->second;
  // Edge triggered: bytes that are only looked at stay there, and would wake for ever.
  Result<Loop::Token> token = loop_.Watch(open.connection.socket(), EPOLLIN | EPOLLRDHUP | EPOLLET,
                                          [this, key](uint32_t) { Read(key); });
  if (!token) return Refuse(key, token.error().message);
  open.token = *token;
  Read(key);
}

// What there is no memory for is refused: kept, it would end the next process as well.
void Arrivals::Read(uint64_t key) {
  try {
    ReadNow(key);
  } catch (const std::bad_alloc&) {
    Refuse(key, "not enough memory");
  }
}

void Arrivals::ReadNow(uint64_t key) {
  const auto found = open_.find(key);
  if (found == open_.end()) return;
  Open& open = found->second;
  const Result<Connection::Progress> progress = open.connection.Read();
  if (!progress) {
    if (progress.error().error_number == EMFILE && ++open.tries <= kMaxTries) {
      return loop_.After(kTryAgain, [this, key] { Read(key); });
    }
    return Refuse(key, progress.error().message);
  }
  switch (*progress) {
    case Connection::Progress::kMore:
      return;
    case Connection::Progress::kEmpty:
      return Close(key);  // somebody who looked whether an agent answers
    case Connection::Progress::kComplete:
      Finish(open);
      return Close(key);
  }
}

void Arrivals::TellKept(BorrowedFd socket) {
  constexpr std::string_view kKept = "kept\n";
  // Into an empty buffer; a launcher that has gone needs no answer.
  (void)send(socket.get(), kKept.data(), kKept.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Arrivals::FinishLauncher(Open& open) {
  Status outcome;
  Result<Message> message = DecodeMessage(open.connection.text(), open.connection.TakeFds());
  if (!message) {
    outcome = Forward(message);
  } else if (const auto* listener = std::get_if<ListenerMessage>(&*message);
             !listener || listener->process.state.id != open.launcher_of) {
    outcome = landgate::Refuse("a launcher hands over the listener of its own container");
  } else {
    outcome = deliver_(std::move(*message), open.connection.key());
  }
  if (outcome) return TellKept(open.connection.socket());
  refused_("the launcher of container " + Printable(open.launcher_of) + ": " +
           Printable(outcome.error().message));
}

void Arrivals::Finish(Open& open) {
  if (!open.launcher_of.empty()) return FinishLauncher(open);
  const std::string_view text = open.connection.text();
  const bool hook = IsFromHook(text);
  Result<Message> message = DecodeMessage(text, open.connection.TakeFds());
  Status outcome;
  if (message) {
    outcome = deliver_(std::move(*message), open.connection.key());
  } else {
    outcome = Forward(message);
  }
  if (hook) Answer(open.connection.socket(), EncodeAnswer(outcome));
  if (!outcome) {
    refused_("pid " + std::to_string(open.peer.pid) + ": " + Printable(outcome.error().message));
  }
}

void Arrivals::Refuse(uint64_t key, const std::string& why) {
  const auto found = open_.find(key);
  if (found == open_.end()) return;
  refused_("pid " + std::to_string(found->second.peer.pid) + ": " + Printable(why));
  if (IsFromHook(found->second.connection.text())) {
    Answer(found->second.connection.socket(), EncodeAnswer(landgate::Refuse(why)));
  }
  Close(key);
}

void Arrivals::Close(uint64_t key) {
  const auto found = open_.find(key);
  if (found == open_.end()) return;
  Open& open = found->second;
  loop_.Unwatch(open.token, open.connection.socket());
  Drain(open.connection.socket());
  if (open.connection.spooled()) {
    --spools_;
    holder_.Drop(Kept::kPartial, key);
  }
  holder_.Drop(Kept::kConnection, key);
  open_.erase(found);
}

}  // namespace landgate::agent
