// The messages between the holder and the serving process: docs/holder.md has their grammar and
// their order. One packet of a SOCK_SEQPACKET socket each, of one fixed size, little-endian. Pure;
// thread-safe.
#ifndef LANDGATE_AGENT_HOLDER_HOLDER_MESSAGE_H_
#define LANDGATE_AGENT_HOLDER_HOLDER_MESSAGE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "agent/holder/holder_client.h"
#include "base/result.h"

namespace landgate::agent {

enum class HolderVerb : uint32_t {
  // To the holder.
  kHello = 1,  // I want to serve
  kKeep = 2,   // with one descriptor; answered by kAck
  kDrop = 3,   // not answered
  // From the holder.
  kObject = 16,  // with one descriptor: kept for you
  kReady = 17,   // that was everything; from now on kObject is a new connection
  kBusy = 18,    // another process serves; `key` is its pid. The holder closes the connection
  kAck = 19,     // of the kKeep with this sequence; `error` is 0 or an errno
};

struct HolderMessage {
  HolderVerb verb = HolderVerb::kHello;
  uint32_t sequence = 0;    // of a kKeep, and in its kAck
  Kept kind = Kept::kArea;  // of an object
  uint32_t error = 0;       // of kAck
  uint64_t key = 0;
  std::string blob = {};  // at most kMaxBlobBytes
  bool operator==(const HolderMessage&) const = default;
};

// 8 bytes magic with the protocol's version; verb, sequence, kind, error: 4 each; key: 8; length of
// the blob: 4; zero: 4; the blob, filled up with zeros.
inline constexpr size_t kHolderHeaderBytes = 40;
inline constexpr size_t kHolderMessageBytes = kHolderHeaderBytes + kMaxBlobBytes;
using HolderPacket = std::array<std::byte, kHolderMessageBytes>;

HolderPacket EncodeHolderMessage(const HolderMessage& message);
// Refused: another length, magic or version, an unknown verb, a kind of 0, a blob that is too long
// or not filled up with zeros.
Result<HolderMessage> DecodeHolderMessage(std::span<const std::byte> packet);

// A kConnection's blob.
std::string EncodeSocketKey(uint64_t socket_key);
Result<uint64_t> DecodeSocketKey(const std::string& blob);

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HOLDER_HOLDER_MESSAGE_H_
