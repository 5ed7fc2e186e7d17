// What a successor makes of what it finds, and of what beside a listener says about it.
#include "agent/server/predecessor.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "agent/holder/holder_message.h"
#include "agent/server/listener_blob.h"

namespace landgate::agent {
namespace {

using ::testing::Contains;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

KeptObject Object(Kept kind, uint64_t key, std::string blob = {}) {
  return {kind, key, std::move(blob), UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC))};
}

ListenerBlob SomeBlob() {
  return {.region = 7,
          .container = 8,
          .connection = 9,
          .kind = ListenerKind::kSession,
          .process = 4711,
          .id = "web-1"};
}

TEST(ListenerBlob, Travels) {
  for (ListenerBlob blob : {SomeBlob(), ListenerBlob{.id = std::string(255, 'x')}}) {
    const std::string bytes = EncodeListenerBlob(blob);
    EXPECT_LE(bytes.size(), kMaxBlobBytes);
    const Result<ListenerBlob> back = DecodeListenerBlob(bytes);
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, blob);
  }
}

TEST(ListenerBlob, WhatIsNone) {
  const std::string good = EncodeListenerBlob(SomeBlob());
  for (const std::string& bad :
       {std::string(), std::string("2") + good.substr(1), good + " x", good + "/",
        good.substr(0, 6), std::string("1 7 8 9 2 4711 web-1"), std::string("1 7 8 9 1 -1 web-1"),
        std::string("1 x 8 9 1 1 web-1")}) {
    EXPECT_FALSE(DecodeListenerBlob(bad)) << bad;
  }
}

TEST(Predecessor, SortsWhatBelongsTogether) {
  std::vector<KeptObject> kept;
  kept.push_back(Object(Kept::kListener, 22, EncodeListenerBlob(SomeBlob())));
  kept.push_back(Object(Kept::kListener, 21, EncodeListenerBlob(SomeBlob())));
  kept.push_back(Object(Kept::kSession, 22));
  kept.push_back(Object(Kept::kMountNamespace, 8));
  kept.push_back(Object(Kept::kProcess, 8));
  kept.push_back(Object(Kept::kContainer, 8, "web-1"));
  kept.push_back(Object(Kept::kConnection, 30));
  kept.push_back(Object(Kept::kPartial, 30));
  kept.push_back(Object(Kept::kArea, 0));
  const Predecessor sorted = Sort(std::move(kept));
  EXPECT_TRUE(sorted.area.valid());
  ASSERT_EQ(sorted.listeners.size(), 2U);
  EXPECT_EQ(sorted.listeners[0].key, 21U);
  EXPECT_TRUE(sorted.sessions.contains(22));
  ASSERT_TRUE(sorted.containers.contains(8));
  EXPECT_EQ(sorted.containers.at(8).id, "web-1");
  EXPECT_TRUE(sorted.containers.at(8).process.valid());
  EXPECT_TRUE(sorted.containers.at(8).mount_namespace.valid());
  ASSERT_TRUE(sorted.connections.contains(30));
  EXPECT_TRUE(sorted.connections.at(30).spool.valid());
  EXPECT_TRUE(sorted.leftovers.empty());
}

TEST(Predecessor, AConnectionWhoseListenerIsKeptIsNotReadAgain) {
  std::vector<KeptObject> kept;
  kept.push_back(Object(Kept::kConnection, 9));
  kept.push_back(Object(Kept::kPartial, 9));
  kept.push_back(Object(Kept::kListener, 21, EncodeListenerBlob(SomeBlob())));
  const Predecessor sorted = Sort(std::move(kept));
  EXPECT_TRUE(sorted.connections.empty());
  EXPECT_THAT(sorted.leftovers,
              UnorderedElementsAre(Pair(Kept::kConnection, 9U), Pair(Kept::kPartial, 9U)));
}

TEST(Predecessor, WhatIsNotWholeIsDropped) {
  std::vector<KeptObject> kept;
  kept.push_back(Object(Kept::kProcess, 5));  // its registration never came
  kept.push_back(Object(Kept::kPartial, 6));  // its connection is gone
  kept.push_back(Object(Kept::kSession, 7));  // its listener has ended
  const Predecessor sorted = Sort(std::move(kept));
  EXPECT_TRUE(sorted.containers.empty());
  EXPECT_TRUE(sorted.connections.empty());
  EXPECT_TRUE(sorted.sessions.empty());
  EXPECT_THAT(sorted.leftovers, Contains(Pair(Kept::kProcess, 5U)));
  EXPECT_THAT(sorted.leftovers, Contains(Pair(Kept::kPartial, 6U)));
  EXPECT_THAT(sorted.leftovers, Contains(Pair(Kept::kSession, 7U)));
}

}  // namespace
}  // namespace landgate::agent
