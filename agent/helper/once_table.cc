#include "agent/helper/once_table.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bit>
#include <climits>

namespace landgate::agent {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the futex is the low half of OnceRecord::state");
static_assert(sizeof(OnceRecord) <= 128 && sizeof(std::atomic<uint64_t>) == 8);

constexpr uint64_t kLifeNs = std::chrono::nanoseconds(kOnceLife).count();
constexpr uint64_t kFreeWord = OnceWord(OnceState::kFree, 0);

bool HasOutcome(OnceState state) {
  return state == OnceState::kDone || state == OnceState::kAnswered;
}

void* FutexOf(OnceRecord& record) { return &record.state; }

}  // namespace

// The helper can't tell the time in the same step as the outcome; the first look does.
void OnceTable::NoteTime(OnceRecord& record, uint64_t word) {
  if (HasOutcome(OnceStateOf(word)) && record.at.load(std::memory_order_relaxed) == 0)
    record.at.store(now_, std::memory_order_relaxed);
}

bool OnceTable::IsOver(const OnceRecord& record, uint64_t word) const {
  return HasOutcome(OnceStateOf(word)) &&
         now_ - record.at.load(std::memory_order_relaxed) > kLifeNs;
}

OnceTable::Look OnceTable::Find(const CallKey& key) {
  Look look;
  if (used_.load(std::memory_order_relaxed) == 0) return look;
  bool any = false;
  for (uint32_t i = 0; i < kOnceRecords; ++i) {
    OnceRecord& record = records_[i];
    uint64_t word = record.state.load(std::memory_order_acquire);
    NoteTime(record, word);
    if (IsOver(record, word)) {
      record.state.store(kFreeWord, std::memory_order_release);
      continue;
    }
    if (OnceStateOf(word) == OnceState::kFree) continue;
    any = true;
    if (!(record.key == key)) continue;
    if (!HasOutcome(OnceStateOf(word))) {
      const bool alive = is_alive_(record.helper.load(std::memory_order_relaxed),
                                   record.helper_start.load(std::memory_order_relaxed));
      // After the look at the helper: what it wrote before it died counts.
      word = record.state.load(std::memory_order_acquire);
      if (alive && !HasOutcome(OnceStateOf(word))) return {Found::kInHand, i, word, 0};
      if (OnceStateOf(word) == OnceState::kClaimed) {
        record.state.store(kFreeWord, std::memory_order_release);
        continue;
      }
      if (OnceStateOf(word) == OnceState::kStarted) {
        word = OnceWord(OnceState::kDone, OnceClaimOf(word), -EIO);
        record.state.store(word, std::memory_order_release);
      }
      NoteTime(record, word);
    }
    look = {Found::kOutcome, i, word, OnceValueOf(word)};
  }
  if (!any) used_.store(0, std::memory_order_relaxed);
  return look;
}

std::optional<uint32_t> OnceTable::Claim(const CallKey& key, uint32_t claim, pid_t helper,
                                         uint64_t helper_start) {
  std::optional<uint32_t> chosen;
  uint64_t oldest = UINT64_MAX;
  for (uint32_t i = 0; i < kOnceRecords; ++i) {
    const uint64_t word = records_[i].state.load(std::memory_order_acquire);
    if (OnceStateOf(word) == OnceState::kFree) {
      chosen = i;
      break;
    }
    const uint64_t at = records_[i].at.load(std::memory_order_relaxed);
    if (OnceStateOf(word) == OnceState::kAnswered && at < oldest) {
      oldest = at;
      chosen = i;
    }
  }
  for (uint32_t i = 0; i < kOnceRecords && !chosen; ++i) {
    const OnceRecord& record = records_[i];
    const uint64_t word = record.state.load(std::memory_order_acquire);
    if (HasOutcome(OnceStateOf(word)) && !is_alive_(record.key.thread, record.key.thread_start))
      chosen = i;
  }
  if (!chosen) return std::nullopt;
  used_.store(1, std::memory_order_relaxed);
  OnceRecord& record = records_[*chosen];
  // Free while it is being written: a successor sees nothing or all of it.
  record.state.store(kFreeWord, std::memory_order_release);
  record.key = key;
  record.helper.store(helper, std::memory_order_relaxed);
  record.helper_start.store(helper_start, std::memory_order_relaxed);
  record.at.store(0, std::memory_order_relaxed);
  record.state.store(OnceWord(OnceState::kClaimed, claim), std::memory_order_release);
  return chosen;
}

bool OnceTable::Cancel(uint32_t record, uint32_t claim) {
  uint64_t expected = OnceWord(OnceState::kClaimed, claim);
  return records_[record].state.compare_exchange_strong(expected, kFreeWord,
                                                        std::memory_order_acq_rel);
}

void OnceTable::Answered(uint32_t record, uint32_t claim, int32_t value, bool arrived) {
  OnceRecord& at = records_[record];
  const uint64_t word = at.state.load(std::memory_order_acquire);
  if (OnceClaimOf(word) != (claim & 0xffffff) || !HasOutcome(OnceStateOf(word))) return;
  // -EIO is what is said of an operation that may have happened.
  const bool had_no_effect = value < 0 && value != -EIO;
  at.at.store(now_, std::memory_order_relaxed);
  if (!arrived) return;
  at.state.store(had_no_effect ? kFreeWord : OnceWord(OnceState::kAnswered, claim, value),
                 std::memory_order_release);
}

void OnceTable::EndOthers(int32_t thread, uint64_t stack_pointer, const CallKey* but) {
  if (used_.load(std::memory_order_relaxed) == 0) return;
  for (OnceRecord& record : records_) {
    const uint64_t word = record.state.load(std::memory_order_acquire);
    if (OnceStateOf(word) == OnceState::kFree || record.key.thread != thread) continue;
    if (stack_pointer < record.key.stack_pointer) continue;
    if (but != nullptr && record.key == *but) continue;
    // A helper that is still about it finds its claim gone, and its outcome is nobody's.
    record.state.store(kFreeWord, std::memory_order_release);
  }
}

bool OnceTable::Start(OnceRecord& record, uint32_t claim) {
  uint64_t expected = OnceWord(OnceState::kClaimed, claim);
  return record.state.compare_exchange_strong(expected, OnceWord(OnceState::kStarted, claim),
                                              std::memory_order_acq_rel);
}

void OnceTable::Finish(OnceRecord& record, uint32_t claim, int32_t value) {
  uint64_t expected = OnceWord(OnceState::kStarted, claim);
  if (!record.state.compare_exchange_strong(expected, OnceWord(OnceState::kDone, claim, value),
                                            std::memory_order_acq_rel)) {
    return;  // the caller's thread has gone on to something else
  }
  (void)syscall(SYS_futex, FutexOf(record), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void OnceTable::WaitForChange(OnceRecord& record, uint64_t word, uint64_t at_most_ns) {
  const timespec time{.tv_sec = static_cast<time_t>(at_most_ns / 1'000'000'000),
                      .tv_nsec = static_cast<long>(at_most_ns % 1'000'000'000)};
  // Between processes, so not FUTEX_PRIVATE_FLAG. Any reason to return is as good as another.
  (void)syscall(SYS_futex, FutexOf(record), FUTEX_WAIT, static_cast<uint32_t>(word), &time, nullptr,
                0);
}

}  // namespace landgate::agent
