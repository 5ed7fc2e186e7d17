#include "agent/handlers/repeats.h"

#include <gtest/gtest.h>

#include <vector>

#include "agent/handlers/seen_calls.h"

namespace landgate::agent {
namespace {

class Sink : public AuditSink {
 public:
  void Write(AuditRecord record) override { records.push_back(std::move(record)); }
  std::vector<AuditRecord> records;
};

AuditRecord Record(const std::string& path) {
  AuditRecord record;
  record.path = path;
  return record;
}

constexpr std::chrono::milliseconds kMs{1};

TEST(Repeats, TheFirstIsWrittenAndTheRestOfTheSecondIsCounted) {
  Sink sink;
  Repeats repeats(&sink);
  const Repeats::Clock::time_point now{};
  ASSERT_FALSE(repeats.Counted(1, now));
  repeats.Write(1, Record("/a"), now);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(repeats.Counted(1, now + i * kMs));
  EXPECT_EQ(1u, sink.records.size());
  // Something else, a second later, tells how many there were.
  EXPECT_FALSE(repeats.Counted(2, now + 1001 * kMs));
  ASSERT_EQ(2u, sink.records.size());
  EXPECT_EQ("/a", sink.records[1].path);
  EXPECT_EQ(5u, sink.records[1].count);
  EXPECT_EQ("repeated 5 times within a second", sink.records[1].message);
  // And the same is news again.
  EXPECT_FALSE(repeats.Counted(1, now + 1002 * kMs));
}

TEST(Repeats, DifferentOnesAreWrittenEach) {
  Sink sink;
  Repeats repeats(&sink);
  const Repeats::Clock::time_point now{};
  for (uint64_t kind = 1; kind <= 100; ++kind) {
    ASSERT_FALSE(repeats.Counted(kind, now));
    repeats.Write(kind, Record("/" + std::to_string(kind)), now);
  }
  EXPECT_EQ(100u, sink.records.size());
}

TEST(Repeats, NoCountIsLost) {
  Sink sink;
  {
    Repeats repeats(&sink);
    const Repeats::Clock::time_point now{};
    // Two kinds that share a place.
    repeats.Write(7, Record("/a"), now);
    EXPECT_TRUE(repeats.Counted(7, now));
    EXPECT_FALSE(repeats.Counted(7 + 64, now));
    repeats.Write(7 + 64, Record("/b"), now);
    EXPECT_TRUE(repeats.Counted(7 + 64, now));
    EXPECT_EQ(3u, sink.records.size());
    EXPECT_EQ(1u, sink.records[1].count);
  }
  ASSERT_EQ(4u, sink.records.size());
  EXPECT_EQ("/b", sink.records[3].path);
  EXPECT_EQ(1u, sink.records[3].count);
}

TEST(SeenCalls, WhatWentInIsFoundAndNothingElse) {
  SeenCalls seen;
  const auto mark = [](uint64_t thread, std::string_view path) {
    return Fingerprint::Timeless().Add(thread).Add(path).value();
  };
  EXPECT_FALSE(seen.Contains(mark(1, "/a")));
  seen.Insert(mark(1, "/a"));
  EXPECT_TRUE(seen.Contains(mark(1, "/a")));
  EXPECT_FALSE(seen.Contains(mark(2, "/a")));
  EXPECT_FALSE(seen.Contains(mark(1, "/b")));
  EXPECT_FALSE(seen.Contains(mark(1, "/a/")));
}

TEST(SeenCalls, LengthsAndOrderCount) {
  const auto mark = [](std::string_view one, std::string_view other) {
    return Fingerprint::Timeless().Add(one).Add(other).value();
  };
  EXPECT_NE(mark("ab", "c"), mark("a", "bc"));
  EXPECT_NE(mark("a", "b"), mark("b", "a"));
  EXPECT_NE(mark("", "a"), mark("a", ""));
  EXPECT_NE(mark("12345678", ""), mark("", "12345678"));
  EXPECT_NE(mark(std::string("a\0", 2), ""), mark("a", ""));
  EXPECT_EQ(mark("same", "same"), mark("same", "same"));
}

}  // namespace
}  // namespace landgate::agent
