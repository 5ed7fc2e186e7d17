#include "agent/helper/once_table.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <map>
#include <memory>
#include <set>
#include <vector>

namespace landgate::agent {
namespace {

constexpr uint64_t kMs = 1'000'000;

// Records in memory, and everything about them that comes from outside.
struct Memory {
  std::array<OnceRecord, kOnceRecords> records{};
  std::atomic<uint32_t> used{0};
  uint64_t now = 1'000'000 * kMs;
  std::set<pid_t> dead;
  OnceTable::IsAliveFunction is_alive = [this](pid_t id, uint64_t) { return !dead.contains(id); };

  OnceTable Table() { return OnceTable(records, used, now, is_alive); }
};

CallKey Key(int thread, uint64_t argument, uint64_t stack_pointer = 1000) {
  CallKey key;
  key.thread = thread;
  key.thread_start = 7;
  key.arguments[0] = argument;
  key.stack_pointer = stack_pointer;
  return key;
}

// Claims, starts and finishes; returns the record.
uint32_t Perform(Memory& memory, const CallKey& key, uint32_t claim, int32_t value) {
  const auto record = memory.Table().Claim(key, claim, 99, 1);
  EXPECT_TRUE(record);
  EXPECT_TRUE(OnceTable::Start(memory.records[*record], claim));
  OnceTable::Finish(memory.records[*record], claim, value);
  return *record;
}

TEST(OnceTable, WhatIsUnknownIsClaimedAndThenInHandAndThenAnOutcome) {
  Memory memory;
  const CallKey key = Key(1, 5);
  EXPECT_EQ(memory.Table().Find(key).found, OnceTable::Found::kNothing);
  const auto record = memory.Table().Claim(key, 3, 99, 1);
  ASSERT_TRUE(record);
  EXPECT_EQ(memory.Table().Find(key).found, OnceTable::Found::kInHand);
  ASSERT_TRUE(OnceTable::Start(memory.records[*record], 3));
  EXPECT_FALSE(OnceTable::Start(memory.records[*record], 3)) << "twice";
  EXPECT_EQ(memory.Table().Find(key).found, OnceTable::Found::kInHand);
  OnceTable::Finish(memory.records[*record], 3, 42);
  const auto look = memory.Table().Find(key);
  EXPECT_EQ(look.found, OnceTable::Found::kOutcome);
  EXPECT_EQ(look.value, 42);
  EXPECT_EQ(memory.Table().Find(Key(1, 6)).found, OnceTable::Found::kNothing) << "another argument";
  EXPECT_EQ(memory.Table().Find(Key(2, 5)).found, OnceTable::Found::kNothing) << "another thread";
}

TEST(OnceTable, EveryPartOfTheKeyCounts) {
  Memory memory;
  const CallKey key = Key(1, 5);
  Perform(memory, key, 3, 1);
  ASSERT_EQ(memory.Table().Find(key).found, OnceTable::Found::kOutcome);
  std::vector<CallKey> others(12, key);
  ++others[0].thread_start;
  ++others[1].syscall;
  for (size_t i = 0; i < 6; ++i) ++others[2 + i].arguments[i];
  ++others[8].instruction_pointer;
  ++others[9].stack_pointer;
  ++others[10].content_hash;
  ++others[11].thread;
  for (size_t i = 0; i < others.size(); ++i)
    EXPECT_EQ(memory.Table().Find(others[i]).found, OnceTable::Found::kNothing) << i;
}

TEST(OnceTable, AHelperThatDiedBeforeItBeganLeavesNothing) {
  Memory memory;
  ASSERT_TRUE(memory.Table().Claim(Key(1, 5), 3, 99, 1));
  memory.dead = {99};
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).found, OnceTable::Found::kNothing);
}

TEST(OnceTable, AHelperThatDiedInTheMiddleLeavesEioForEver) {
  Memory memory;
  const auto record = memory.Table().Claim(Key(1, 5), 3, 99, 1);
  ASSERT_TRUE(OnceTable::Start(memory.records[*record], 3));
  memory.dead = {99};
  for (int i = 0; i < 3; ++i) {
    const auto look = memory.Table().Find(Key(1, 5));
    ASSERT_EQ(look.found, OnceTable::Found::kOutcome);
    EXPECT_EQ(look.value, -EIO);
    memory.Table().Answered(look.record, OnceClaimOf(look.word), look.value, true);
  }
}

TEST(OnceTable, AHelperThatFinishedAndThenDiedHasDoneIt) {
  Memory memory;
  Perform(memory, Key(1, 5), 3, 42);
  memory.dead = {99};
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).value, 42);
}

TEST(OnceTable, ARequestThatWasTakenBackIsNotPerformed) {
  Memory memory;
  const auto record = memory.Table().Claim(Key(1, 5), 3, 99, 1);
  EXPECT_FALSE(memory.Table().Cancel(*record, 4)) << "another claim";
  EXPECT_TRUE(memory.Table().Cancel(*record, 3));
  EXPECT_FALSE(OnceTable::Start(memory.records[*record], 3));
  // The record is somebody else's now, and the late helper must not touch it.
  ASSERT_EQ(memory.Table().Claim(Key(2, 9), 4, 98, 1), record);
  EXPECT_FALSE(OnceTable::Start(memory.records[*record], 3));
  OnceTable::Finish(memory.records[*record], 3, 42);
  EXPECT_EQ(memory.Table().Find(Key(2, 9)).found, OnceTable::Found::kInHand);
}

TEST(OnceTable, AnAnswerIsNoProofSoTheOutcomeStays) {
  Memory memory;
  const uint32_t record = Perform(memory, Key(1, 5), 3, 42);
  memory.Table().Answered(record, 3, 42, true);
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).value, 42);
  // An operation that failed had no effect: to try again is as good, and may succeed.
  const uint32_t failed = Perform(memory, Key(1, 6), 4, -EEXIST);
  memory.Table().Answered(failed, 4, -EEXIST, false);
  EXPECT_EQ(memory.Table().Find(Key(1, 6)).value, -EEXIST);
  memory.Table().Answered(failed, 4, -EEXIST, true);
  EXPECT_EQ(memory.Table().Find(Key(1, 6)).found, OnceTable::Found::kNothing);
}

TEST(OnceTable, TheThreadsNextOtherCallEndsIt) {
  Memory memory;
  const CallKey key = Key(1, 5, 1000);
  Perform(memory, key, 3, 42);
  memory.Table().EndOthers(2, 1000);
  EXPECT_EQ(memory.Table().Find(key).value, 42) << "another thread's call";
  memory.Table().EndOthers(1, 500);
  EXPECT_EQ(memory.Table().Find(key).value, 42) << "from deeper in the stack: a signal handler's";
  memory.Table().EndOthers(1, 1000, &key);
  EXPECT_EQ(memory.Table().Find(key).value, 42) << "the same call";
  memory.Table().EndOthers(1, 1000);
  EXPECT_EQ(memory.Table().Find(key).found, OnceTable::Found::kNothing);
}

TEST(OnceTable, ItEndsTwoSecondsAfterTheLastAnswer) {
  Memory memory;
  const uint64_t life = std::chrono::nanoseconds(kOnceLife).count();
  const auto record = memory.Table().Claim(Key(1, 5), 3, 99, 1);
  ASSERT_TRUE(OnceTable::Start(memory.records[*record], 3));
  memory.now += 10 * life;  // a slow operation
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).found, OnceTable::Found::kInHand);
  OnceTable::Finish(memory.records[*record], 3, 42);
  memory.now += 10 * life;  // and nobody looked
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).value, 42);
  memory.now += life;
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).value, 42);
  memory.Table().Answered(*record, 3, 42, false);
  memory.now += life;
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).value, 42);
  memory.now += kMs;
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).found, OnceTable::Found::kNothing);
  EXPECT_EQ(memory.Table().Find(Key(1, 5)).found, OnceTable::Found::kNothing);
  EXPECT_EQ(memory.used, 0u) << "so that it costs one load again";
}

TEST(OnceTable, WhereItIsFullWhatWasAnsweredGivesWayAndNothingElse) {
  Memory memory;
  for (uint32_t i = 0; i < kOnceRecords; ++i) Perform(memory, Key(static_cast<int>(i), i), i, 1);
  EXPECT_FALSE(memory.Table().Claim(Key(1000, 1), 1000, 99, 1)) << "nobody has heard of these";
  memory.dead = {5};  // a thread that will never come again
  const auto instead = memory.Table().Claim(Key(1000, 1), 1000, 99, 1);
  ASSERT_TRUE(instead);
  EXPECT_EQ(memory.Table().Find(Key(5, 5)).found, OnceTable::Found::kNothing);
  EXPECT_EQ(memory.Table().Find(Key(6, 6)).found, OnceTable::Found::kOutcome);
  for (const uint32_t answered : {30u, 20u}) {
    memory.now += kMs;
    const auto look = memory.Table().Find(Key(static_cast<int>(answered), answered));
    memory.Table().Answered(look.record, answered, 1, true);
  }
  ASSERT_TRUE(memory.Table().Claim(Key(1001, 1), 1001, 99, 1));
  EXPECT_EQ(memory.Table().Find(Key(30, 30)).found, OnceTable::Found::kNothing) << "the oldest";
  EXPECT_EQ(memory.Table().Find(Key(20, 20)).found, OnceTable::Found::kOutcome);
}

// Threads that make one call after the other, signals that take them away at any moment, answers
// that don't arrive although they were sent, helpers that die, servers that die: an operation is
// never performed twice, and nobody is told anything but what happened.
RC_GTEST_PROP(OnceTableTest, IsPerformedAtMostOnceWhateverHappens, ()) {
  struct Helper {
    uint64_t call;
    uint32_t record, claim;
    bool started = false;
  };
  Memory memory;
  constexpr int kThreads = 5;
  std::array<uint64_t, kThreads> call{};  // what each thread is about
  uint64_t last_call = 0;
  for (uint64_t& at : call) at = ++last_call;
  std::map<uint64_t, int> performed;
  std::set<uint64_t> lost;
  std::map<pid_t, Helper> helpers;
  pid_t last_helper = 100;
  uint32_t last_claim = 0;
  const auto value_of = [](uint64_t number) { return static_cast<int32_t>(number % 3); };

  const auto steps =
      *rc::gen::container<std::vector<uint32_t>>(400, rc::gen::inRange<uint32_t>(0, 1 << 20));
  for (const uint32_t step : steps) {
    memory.now += kMs;
    const auto thread = static_cast<int>(step / 16 % kThreads);
    uint64_t& current = call[static_cast<size_t>(thread)];
    const CallKey key = Key(thread, current);
    OnceTable table = memory.Table();
    const auto a_helper = [&] {
      auto at = helpers.begin();
      std::advance(at, step / 16 % helpers.size());
      return at;
    };
    switch (step % 16) {
      default: {  // its call is notified, and handled
        table.EndOthers(thread, key.stack_pointer, &key);
        const auto look = table.Find(key);
        if (look.found == OnceTable::Found::kInHand) break;
        if (look.found == OnceTable::Found::kNothing) {
          RC_ASSERT(performed[current] == 0);
          const pid_t helper = ++last_helper;
          const auto record = table.Claim(key, ++last_claim, helper, 1);
          RC_ASSERT(record.has_value());
          if (step % 7 != 0)
            helpers[helper] = {current, *record, last_claim};
          else
            memory.dead.insert(helper);  // the server died before it had sent the request
          break;
        }
        if (look.value == -EIO) {
          RC_ASSERT(lost.contains(current));
        } else {
          RC_ASSERT(performed[current] == 1);
          RC_ASSERT(look.value == value_of(current));
        }
        const bool sent = step / 128 % 4 != 0;
        const bool arrived = sent && step / 512 % 4 != 0;
        table.Answered(look.record, OnceClaimOf(look.word), look.value, sent);
        if (arrived) current = ++last_call;
        break;
      }
      case 10:
      case 11:
      case 12:  // a helper goes on
        if (!helpers.empty()) {
          const auto at = a_helper();
          Helper& helper = at->second;
          OnceRecord& record = memory.records[helper.record];
          if (helper.started) {
            OnceTable::Finish(record, helper.claim, value_of(helper.call));
            helpers.erase(at);
          } else if (OnceTable::Start(record, helper.claim)) {
            helper.started = true;
            RC_ASSERT(++performed[helper.call] == 1);
          } else {
            helpers.erase(at);
          }
        }
        break;
      case 13:  // a helper dies
        if (!helpers.empty()) {
          const auto at = a_helper();
          if (at->second.started) lost.insert(at->second.call);
          memory.dead.insert(at->first);
          helpers.erase(at);
        }
        break;
      case 14:  // the call ends with EINTR, and the thread does something else
        current = ++last_call;
        table.EndOthers(thread, key.stack_pointer);
        break;
      case 15:  // a signal handler's own call, from deeper in the stack
        table.EndOthers(thread, key.stack_pointer - 500);
        break;
    }
  }
}

}  // namespace
}  // namespace landgate::agent
