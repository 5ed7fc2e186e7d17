#include "agent/server/connection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "agent/limits.h"

namespace landgate::agent {
namespace {

constexpr size_t kPieceBytes = size_t{64} << 10;

}  // namespace

Result<Peer> PeerOf(BorrowedFd socket) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return SystemError("SO_PEERCRED", errno);
  }
  return Peer{.pid = credentials.pid, .uid = credentials.uid};
}

Connection::Connection(uint64_t key, UniqueFd socket, Keep keep)
    : key_(key), socket_(std::move(socket)), keep_(std::move(keep)) {
  // From the beginning, whatever a predecessor has looked at. Where it fails, Read says so.
  const int beginning = 0;
  (void)setsockopt(socket_.get(), SOL_SOCKET, SO_PEEK_OFF, &beginning, sizeof(beginning));
}

Result<Connection> Connection::Resume(uint64_t key, UniqueFd socket, UniqueFd spool) {
  Connection resumed(key, std::move(socket), nullptr);
  Result<Spool> opened = Spool::Open(std::move(spool), &resumed.fds_);
  if (!opened) return Forward(opened);
  resumed.has_fds_ = true;
  resumed.spool_.emplace(std::move(*opened));
  (void)resumed.scan_.Feed(resumed.spool_->text());
  return resumed;
}

std::string_view Connection::text() const {
  const std::string_view all = spool_ ? spool_->text() : std::string_view(peeked_);
  return all.substr(0, scan_.length());
}

std::vector<UniqueFd> Connection::TakeFds() { return std::exchange(fds_, {}); }

// Nothing: goes on.
std::optional<Result<Connection::Progress>> Connection::Judge(std::string_view piece) {
  switch (scan_.Feed(piece)) {
    case JsonScan::State::kComplete:
      return Progress::kComplete;
    case JsonScan::State::kNoObject:
      return Result<Progress>(Refuse("what was sent is no JSON object"));
    case JsonScan::State::kMore:
      return std::nullopt;
  }
  return std::nullopt;
}

Result<Connection::Progress> Connection::Read() {
  if (scan_.state() == JsonScan::State::kComplete) return Progress::kComplete;
  return spool_ ? SpoolMore() : PeekMore();
}

Result<Connection::Progress> Connection::PeekMore() {
  std::array<char, kPieceBytes> buffer;
  while (true) {
    Result<Peeked> piece = Peek(socket_, buffer.data(), buffer.size());
    if (!piece && piece.error().error_number == EAGAIN) {
      if (peeked_.empty()) return Progress::kMore;
      // The rest comes only when there is room for it, so this much must be taken out.
      if (Status kept = StartSpool(); !kept) return Forward(kept);
      return SpoolMore();
    }
    if (!piece) {
      // The offset has moved past what could not be taken; another try begins there again.
      const int offset = static_cast<int>(peeked_.size());
      (void)setsockopt(socket_.get(), SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset));
      return Forward(piece);
    }
    if (piece->bytes == 0) {
      if (peeked_.empty()) return Progress::kEmpty;
      return Refuse("the peer ended in the middle of a JSON object");
    }
    if (!has_fds_ && !piece->fds.empty()) {
      if (piece->fds.size() > kMaxStateFds) {
        return Refuse("more than " + std::to_string(kMaxStateFds) + " descriptors in a message");
      }
      has_fds_ = true;
      fds_ = std::move(piece->fds);
    }
    const std::string_view bytes(buffer.data(), piece->bytes);
    if (peeked_.size() + bytes.size() > kMaxStateBytes) {
      return Refuse("a message of more than " + std::to_string(kMaxStateBytes) + " bytes");
    }
    peeked_ += bytes;
    if (auto judged = Judge(bytes)) return std::move(*judged);
  }
}

Status Connection::StartSpool() {
  Result<Spool> spool = Spool::Create(fds_);
  if (!spool) return Forward(spool);
  if (Status kept = keep_(spool->kept()); !kept) return Forward(kept);
  spool_.emplace(std::move(*spool));
  // The same bytes come again, into the spool.
  peeked_ = std::string();
  scan_ = JsonScan();
  return {};
}

Result<Connection::Progress> Connection::SpoolMore() {
  if (auto judged = Judge({})) return std::move(*judged);
  while (true) {
    const size_t before = spool_->text().size();
    Result<size_t> got = spool_->Receive(socket_);
    if (!got && got.error().error_number == EAGAIN) return Progress::kMore;
    if (!got && got.error().error_number == EMSGSIZE) {
      return Refuse("a message of more than " + std::to_string(kMaxStateBytes) + " bytes");
    }
    if (!got) return Forward(got);
    if (*got == 0) return Refuse("the peer ended in the middle of a JSON object");
    if (auto judged = Judge(spool_->text().substr(before))) return std::move(*judged);
  }
}

}  // namespace landgate::agent
