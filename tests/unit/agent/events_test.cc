#include "agent/control/events.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "agent/limits.h"

namespace landgate::agent {
namespace {

AuditRecordPtr Record(AuditVerdict verdict, const std::string& container, uint64_t number = 0) {
  auto record = std::make_shared<AuditRecord>();
  record->verdict = verdict;
  record->container = container;
  record->count = number;
  return record;
}

TEST(EventsTest, EveryReaderSeesWhatItAskedFor) {
  Events events;
  int woken = 0;
  const auto all = events.Subscribe({}, [&] { ++woken; });
  const auto denied = events.Subscribe({true, ""}, [] {});
  const auto of_a = events.Subscribe({false, "a"}, [] {});
  events.Publish(Record(AuditVerdict::kAllow, "a"));
  events.Publish(Record(AuditVerdict::kDeny, "b"));
  events.Publish(Record(AuditVerdict::kAudit, "b"));
  events.Publish(Record(AuditVerdict::kNone, "ab"));
  EXPECT_EQ(woken, 1);  // once until it has looked
  EXPECT_EQ(all->Take(100).records.size(), 4u);
  EXPECT_EQ(denied->Take(100).records.size(), 2u);
  EXPECT_EQ(of_a->Take(100).records.size(), 1u);
  EXPECT_TRUE(all->Take(100).records.empty());
  events.Publish(Record(AuditVerdict::kAllow, "a"));
  EXPECT_EQ(woken, 2);
}

TEST(EventsTest, ASlowReaderLosesTheOldestAndIsTold) {
  Events events;
  const auto reader = events.Subscribe({}, [] {});
  for (uint64_t i = 0; i < kEventBacklog + 5; ++i)
    events.Publish(Record(AuditVerdict::kDeny, "a", i));
  const auto first = reader->Take(1);
  EXPECT_EQ(first.lost, 5u);
  ASSERT_EQ(first.records.size(), 1u);
  EXPECT_EQ(first.records[0]->count, 5u);
  const auto rest = reader->Take(kEventBacklog);
  EXPECT_EQ(rest.lost, 0u);
  EXPECT_EQ(rest.records.size(), kEventBacklog - 1);
  EXPECT_EQ(rest.records.back()->count, kEventBacklog + 4);
}

TEST(EventsTest, AReaderThatHasGoneGetsNothing) {
  Events events;
  int woken = 0;
  auto reader = events.Subscribe({}, [&] { ++woken; });
  const std::weak_ptr<Events::Reader> gone = reader;
  reader.reset();
  events.Publish(Record(AuditVerdict::kDeny, "a"));
  EXPECT_EQ(woken, 0);
  EXPECT_TRUE(gone.expired());
}

TEST(EventsTest, NothingIsLostUncountedBetweenThreads) {
  Events events;
  std::atomic<uint64_t> seen{0};
  std::atomic<bool> stop{false};
  const auto reader = events.Subscribe({}, [] {});
  std::thread reading([&] {
    while (!stop) {
      const auto taken = reader->Take(7);
      seen += taken.lost + taken.records.size();
    }
  });
  constexpr uint64_t kEach = 20000;
  std::thread one([&] {
    for (uint64_t i = 0; i < kEach; ++i) events.Publish(Record(AuditVerdict::kDeny, "a"));
  });
  std::thread two([&] {
    for (uint64_t i = 0; i < kEach; ++i) events.Publish(Record(AuditVerdict::kDeny, "b"));
  });
  std::thread passing([&] {
    for (int i = 0; i < 1000; ++i) (void)events.Subscribe({}, [] {});
  });
  one.join();
  two.join();
  passing.join();
  stop = true;
  reading.join();
  const auto left = reader->Take(kEventBacklog);
  EXPECT_EQ(seen + left.lost + left.records.size(), 2 * kEach);
}

}  // namespace
}  // namespace landgate::agent
