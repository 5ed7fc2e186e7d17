#include "agent/holder/holder_message.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace landgate::agent {
namespace {

constexpr HolderVerb kVerbs[] = {HolderVerb::kHello,  HolderVerb::kKeep,  HolderVerb::kDrop,
                                 HolderVerb::kObject, HolderVerb::kReady, HolderVerb::kBusy,
                                 HolderVerb::kAck};

HolderMessage AnyMessage() {
  HolderMessage message;
  message.verb = *rc::gen::elementOf(std::vector<HolderVerb>(std::begin(kVerbs), std::end(kVerbs)));
  message.sequence = *rc::gen::arbitrary<uint32_t>();
  message.kind = static_cast<Kept>(*rc::gen::inRange<uint32_t>(1, UINT32_MAX));
  message.error = *rc::gen::arbitrary<uint32_t>();
  message.key = *rc::gen::arbitrary<uint64_t>();
  message.blob = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
  if (message.blob.size() > kMaxBlobBytes) message.blob.resize(kMaxBlobBytes);
  return message;
}

RC_GTEST_PROP(HolderMessageTest, IsWhatItWasAfterEncodingAndDecoding, ()) {
  const HolderMessage message = AnyMessage();
  const HolderPacket packet = EncodeHolderMessage(message);
  const auto decoded = DecodeHolderMessage(packet);
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(*decoded == message);
}

RC_GTEST_PROP(HolderMessageTest, AnyOtherLengthIsRefused, ()) {
  const HolderPacket packet = EncodeHolderMessage(AnyMessage());
  std::vector<std::byte> bytes(packet.begin(), packet.end());
  bytes.resize(
      *rc::gen::distinctFrom(rc::gen::inRange<size_t>(0, 2 * packet.size()), packet.size()));
  RC_ASSERT(!DecodeHolderMessage(bytes));
}

// One message has one packet: what is decoded is encoded to the same bytes.
RC_GTEST_PROP(HolderMessageTest, AChangedByteIsRefusedOrMeansSomethingElse, ()) {
  const HolderMessage message = AnyMessage();
  HolderPacket packet = EncodeHolderMessage(message);
  packet[*rc::gen::inRange<size_t>(0, packet.size())] ^=
      static_cast<std::byte>(*rc::gen::inRange(1, 256));
  const auto decoded = DecodeHolderMessage(packet);
  if (!decoded) return;
  RC_ASSERT(!(*decoded == message));
  RC_ASSERT(std::ranges::equal(EncodeHolderMessage(*decoded), packet));
}

TEST(HolderMessage, WhatTheGrammarDoesNotHaveIsRefused) {
  const HolderPacket good = EncodeHolderMessage({.verb = HolderVerb::kKeep, .blob = "blob"});
  ASSERT_TRUE(DecodeHolderMessage(good));
  const auto with = [&](size_t at, int value) {
    HolderPacket packet = good;
    packet[at] = static_cast<std::byte>(value);
    return DecodeHolderMessage(packet);
  };
  EXPECT_FALSE(with(0, 'X')) << "magic";
  EXPECT_FALSE(with(6, '2')) << "version";
  EXPECT_FALSE(with(8, 4)) << "a verb that nobody says";
  EXPECT_FALSE(with(16, 0)) << "kind 0";
  EXPECT_FALSE(with(33, 3)) << "a blob longer than there is room";
  EXPECT_FALSE(with(32, 3)) << "a byte behind the blob";
  EXPECT_FALSE(with(36, 1)) << "the filler";
  EXPECT_FALSE(with(kHolderMessageBytes - 1, 1)) << "the last byte";
}

TEST(HolderMessage, SocketKeysSurvive) {
  for (const uint64_t key : {uint64_t{0}, uint64_t{77}, UINT64_MAX})
    EXPECT_EQ(DecodeSocketKey(EncodeSocketKey(key)).value_or(1), key);
  EXPECT_FALSE(DecodeSocketKey(""));
  EXPECT_FALSE(DecodeSocketKey("seven b"));
}

}  // namespace
}  // namespace landgate::agent
