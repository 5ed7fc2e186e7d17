// fuzz: agent
// What a peer may send to the holder. Decoding loses nothing and refuses what it would not have
// encoded; and the holder's loop, given any sequence of packets with and without descriptors, keeps
// what it says it keeps, answers, and closes every descriptor when it goes.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "agent/holder/fd_message.h"
#include "agent/holder/holder_loop.h"
#include "agent/holder/holder_message.h"

namespace landgate::agent {
namespace {

void Require(bool condition) {
  if (!condition) abort();
}

void CheckDecoder(std::span<const std::byte> bytes) {
  const Result<HolderMessage> message = DecodeHolderMessage(bytes);
  if (message) Require(std::ranges::equal(EncodeHolderMessage(*message), bytes));
}

size_t OpenDescriptors() {
  size_t count = 0;
  for (int fd = 0; fd < 256; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

// Bytes: a verb, a kind, a key, a length and what to send along; then the next.
void DriveLoop(std::span<const std::byte> bytes) {
  UniqueFd listening(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr unnamed{.sa_family = AF_UNIX, .sa_data = {}};
  Require(bind(listening.get(), &unnamed, sizeof(sa_family_t)) == 0);  // an abstract name
  Require(listen(listening.get(), 1) == 0);
  HolderLoop::Options options;
  options.max_objects = 8;
  options.max_connections = 2;
  Result<HolderLoop> loop = HolderLoop::Create(std::move(listening), UniqueFd(), options);
  Require(loop.has_value());
  int ends[2];
  Require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  const UniqueFd peer(ends[0]);
  loop->AddPeer(UniqueFd(ends[1]));
  const UniqueFd memfd(memfd_create("fuzz", MFD_CLOEXEC));
  const UniqueFd server(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Require(bind(server.get(), &unnamed, sizeof(sa_family_t)) == 0 && listen(server.get(), 4) == 0);
  for (; bytes.size() >= 5; bytes = bytes.subspan(5)) {
    const auto at = [&](size_t i) { return std::to_integer<unsigned>(bytes[i]); };
    HolderMessage message;
    message.verb = static_cast<HolderVerb>(at(0) % 22);
    message.kind = static_cast<Kept>(1 + at(1) % 10);
    message.key = at(2) % 16;
    message.blob = std::string(at(3) * 3 % (kMaxBlobBytes + 1), 'b');
    HolderPacket packet = EncodeHolderMessage(message);
    const BorrowedFd fds[] = {(at(4) & 4) != 0 ? BorrowedFd(server) : BorrowedFd(memfd), memfd};
    const size_t length = (at(4) & 128) != 0 ? at(3) + 1 : packet.size();
    if ((at(4) & 64) != 0) packet[at(3) % packet.size()] ^= bytes[2];
    (void)SendWithFds(peer, std::span(packet).first(length), std::span(fds, at(4) % 3), 0);
    if ((at(4) & 8) != 0) {  // somebody connects to what may be a kept socket
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      Require(getsockname(server.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
      (void)connect(client.get(), reinterpret_cast<sockaddr*>(&address), size);
    }
    if ((at(4) & 16) != 0) {  // the peer reads what there is
      std::array<std::byte, kHolderMessageBytes> answer;
      while (auto received = ReceiveWithFds(peer, answer, 1, MSG_DONTWAIT)) {
        if (received->bytes == 0) break;
        Require(DecodeHolderMessage(std::span(answer).first(received->bytes)).has_value());
      }
    }
    const Result<bool> more = loop->Step(std::chrono::milliseconds(0));
    Require(more.has_value());
    Require(loop->kept() <= options.max_objects && loop->peers() <= 1);
  }
}

}  // namespace
}  // namespace landgate::agent

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  landgate::agent::CheckDecoder(bytes);
  const size_t before = landgate::agent::OpenDescriptors();
  landgate::agent::DriveLoop(bytes);
  if (landgate::agent::OpenDescriptors() != before) abort();
  return 0;
}
