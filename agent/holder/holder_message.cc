#include "agent/holder/holder_message.h"

#include <algorithm>

namespace landgate::agent {
namespace {

constexpr uint64_t kMagic = 0x31444c4f48474cULL;  // "LGHOLD1" and NUL

template <class T>
void Put(std::span<std::byte> at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}

template <class T>
T Get(std::span<const std::byte> at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value | static_cast<T>(std::to_integer<T>(at[i]) << (8 * i)));
  return value;
}

bool IsVerb(uint32_t number) {
  switch (static_cast<HolderVerb>(number)) {
    case HolderVerb::kHello:
    case HolderVerb::kKeep:
    case HolderVerb::kDrop:
    case HolderVerb::kObject:
    case HolderVerb::kReady:
    case HolderVerb::kBusy:
    case HolderVerb::kAck:
      return true;
  }
  return false;
}

}  // namespace

HolderPacket EncodeHolderMessage(const HolderMessage& message) {
  HolderPacket packet{};
  const std::span<std::byte> at(packet);
  const size_t length = std::min(message.blob.size(), kMaxBlobBytes);
  Put<uint64_t>(at, kMagic);
  Put<uint32_t>(at.subspan(8), static_cast<uint32_t>(message.verb));
  Put<uint32_t>(at.subspan(12), message.sequence);
  Put<uint32_t>(at.subspan(16), static_cast<uint32_t>(message.kind));
  Put<uint32_t>(at.subspan(20), message.error);
  Put<uint64_t>(at.subspan(24), message.key);
  Put<uint32_t>(at.subspan(32), static_cast<uint32_t>(length));
  std::ranges::transform(message.blob.substr(0, length), at.begin() + kHolderHeaderBytes,
                         [](char c) { return static_cast<std::byte>(c); });
  return packet;
}

Result<HolderMessage> DecodeHolderMessage(std::span<const std::byte> packet) {
  if (packet.size() != kHolderMessageBytes)
    return Refuse("a holder's message of " + std::to_string(packet.size()) + " bytes");
  if (Get<uint64_t>(packet) != kMagic)
    return Refuse("a holder's message of another protocol or version");
  const auto verb = Get<uint32_t>(packet.subspan(8));
  const auto kind = Get<uint32_t>(packet.subspan(16));
  const auto length = Get<uint32_t>(packet.subspan(32));
  const std::span<const std::byte> blob = packet.subspan(kHolderHeaderBytes);
  const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
  if (!IsVerb(verb)) return Refuse("a holder's message with unknown verb " + std::to_string(verb));
  if (length > kMaxBlobBytes || Get<uint32_t>(packet.subspan(36)) != 0 ||
      !std::ranges::all_of(blob.subspan(std::min<size_t>(length, kMaxBlobBytes)), is_zero))
    return Refuse("a holder's message that is not filled up with zeros");
  if (kind == 0) return Refuse("a holder's message with kind 0");
  HolderMessage message;
  message.verb = static_cast<HolderVerb>(verb);
  message.sequence = Get<uint32_t>(packet.subspan(12));
  message.kind = static_cast<Kept>(kind);  // any other: a later build's, kept like all
  message.error = Get<uint32_t>(packet.subspan(20));
  message.key = Get<uint64_t>(packet.subspan(24));
  message.blob.assign(reinterpret_cast<const char*>(blob.data()), length);
  return message;
}

std::string EncodeSocketKey(uint64_t socket_key) {
  std::array<std::byte, sizeof socket_key> bytes;
  Put(std::span<std::byte>(bytes), socket_key);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<uint64_t> DecodeSocketKey(const std::string& blob) {
  if (blob.size() != sizeof(uint64_t)) return Refuse("a connection without its socket's key");
  return Get<uint64_t>(std::as_bytes(std::span(blob)));
}

}  // namespace landgate::agent
