#include "agent/control/audit_log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "agent/control/audit_file.h"
#include "agent/limits.h"

namespace landgate::agent {
namespace {

// Lines that are handed to the kernel in one go.
constexpr size_t kBatchBytes = size_t{64} << 10;
// How long a failing disk is left alone while nothing new comes.
constexpr std::chrono::seconds kRetry{1};

constexpr std::array kDropReasons = {AuditReason::kQueueFull, AuditReason::kDiskFull,
                                     AuditReason::kWriteFailed};
size_t IndexOf(AuditReason reason) {
  return static_cast<size_t>(std::find(kDropReasons.begin(), kDropReasons.end(), reason) -
                             kDropReasons.begin());
}

AuditReason ReasonOfErrno(int error_number) {
  return error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG
             ? AuditReason::kDiskFull
             : AuditReason::kWriteFailed;
}

size_t SizeOf(const AuditRecord& record) {
  size_t size = sizeof record;
  for (const std::string* text :
       {&record.container, &record.pod, &record.comm, &record.exe, &record.syscall, &record.rights,
        &record.path, &record.requested_path, &record.destination, &record.rule, &record.message}) {
    size += text->size();
  }
  return size;
}

// A thread that gets none of the process's signals. SIGXFSZ is sent to the thread that writes:
// blocked, the write fails with EFBIG and that is all.
template <class Body>
std::thread StartWithoutSignals(Body body) {
  sigset_t all;
  sigset_t before;
  (void)sigfillset(&all);  // can't fail with a set of ours
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

class AuditLog::Impl {
 public:
  Impl(AuditFile file, AuditLogOptions options)
      : file_(std::move(file)),
        options_(std::move(options)),
        batch_bytes_(std::min<uint64_t>(kBatchBytes, options_.max_bytes)),
        thread_(StartWithoutSignals([this] { Run(); })) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    something_.notify_one();
    thread_.join();
  }

  void Write(AuditRecord record) {
    tally_[TallyIndex(record)].fetch_add(1, std::memory_order_relaxed);
    const auto shared = std::make_shared<const AuditRecord>(std::move(record));
    if (options_.events != nullptr) options_.events->Publish(shared);
    const size_t size = SizeOf(*shared);
    {
      const std::lock_guard lock(mutex_);
      if (queue_.size() == kAuditQueueRecords || queued_bytes_ + size > kAuditQueueBytes) {
        ++dropped_[IndexOf(AuditReason::kQueueFull)];
        return;
      }
      queue_.push_back(shared);
      queued_bytes_ += size;
      ++submitted_;
      if (queue_.size() != 1) return;  // the thread is awake, or has been woken
    }
    something_.notify_one();
  }

  void Reopen() {
    {
      const std::lock_guard lock(mutex_);
      reopen_ = true;
    }
    something_.notify_one();
  }

  void Flush() {
    std::unique_lock lock(mutex_);
    const uint64_t until = submitted_;
    handled_some_.wait(lock, [&] { return handled_ >= until; });
  }

  std::vector<AuditCount> CountsByKind() const {
    std::vector<AuditCount> counts;
    for (size_t i = 0; i < tally_.size(); ++i) {
      const uint64_t count = tally_[i].load(std::memory_order_relaxed);
      if (count == 0) continue;
      counts.push_back({static_cast<AuditEvent>(i / kAuditReasons / kAuditVerdicts),
                        static_cast<AuditVerdict>(i / kAuditReasons % kAuditVerdicts),
                        static_cast<AuditReason>(i % kAuditReasons), count});
    }
    return counts;
  }

  AuditDrops Drops() const {
    const std::lock_guard lock(mutex_);
    return {dropped_[0], dropped_[1], dropped_[2]};
  }

 private:
  using Counts = std::array<uint64_t, kDropReasons.size()>;

  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      const auto ready = [this] {
        return !queue_.empty() || stop_ || reopen_ || (!failing_ && reported_ != dropped_);
      };
      // A failing disk is tried again now and then, so that what was lost is told soon.
      if (failing_) {
        (void)something_.wait_for(lock, kRetry, ready);  // either way it is tried
      } else {
        something_.wait(lock, ready);
      }
      if (std::exchange(reopen_, false)) reopen_wanted_ = true;
      const std::vector<AuditRecordPtr> records = TakeBatch();
      const Counts unreported = Unreported();
      const bool last = stop_ && queue_.empty();
      lock.unlock();
      const Counts lost = WriteRecords(records);
      const bool reported = WriteLosses(unreported);
      lock.lock();
      for (size_t i = 0; i < kDropReasons.size(); ++i) {
        dropped_[i] += lost[i];
        if (reported) reported_[i] += unreported[i];
      }
      failing_ = !reported || lost != Counts{};
      handled_ += records.size();
      handled_some_.notify_all();
      if (last) return;
    }
  }

  // A few at a time, so that the queue has room again soon.
  std::vector<AuditRecordPtr> TakeBatch() {
    std::vector<AuditRecordPtr> records;
    for (size_t bytes = 0; !queue_.empty() && bytes < kBatchBytes; queue_.pop_front()) {
      bytes += SizeOf(*queue_.front());
      records.push_back(std::move(queue_.front()));
      queued_bytes_ -= SizeOf(*records.back());
    }
    return records;
  }

  Counts Unreported() const {
    Counts counts;
    for (size_t i = 0; i < counts.size(); ++i) counts[i] = dropped_[i] - reported_[i];
    return counts;
  }

  // Returns what could not be written.
  Counts WriteRecords(const std::vector<AuditRecordPtr>& records) {
    Counts lost{};
    std::string lines;
    size_t count = 0;
    const auto put = [&] {
      if (const std::optional<AuditReason> failed = Append(lines)) lost[IndexOf(*failed)] += count;
      lines.clear();
      count = 0;
    };
    for (const AuditRecordPtr& record : records) {
      const std::string line = EncodeAudit(*record);
      if (count > 0 && lines.size() + line.size() > batch_bytes_) put();
      lines += line;
      ++count;
    }
    put();
    return lost;
  }

  // True where nothing is left to be told.
  bool WriteLosses(const Counts& counts) {
    std::string lines;
    std::vector<AuditRecordPtr> records;
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == 0) continue;
      AuditRecord record;
      record.event = AuditEvent::kAuditDropped;
      record.reason = kDropReasons[i];
      record.count = counts[i];
      record.message = std::to_string(counts[i]) + " audit records before this one were lost";
      lines += EncodeAudit(record);
      records.push_back(std::make_shared<const AuditRecord>(std::move(record)));
    }
    // A short line may fit where no record does: that is not yet a disk that works again.
    if (!lines.empty() && !file_.Append(lines)) return false;
    if (options_.events != nullptr) {
      for (const AuditRecordPtr& record : records) options_.events->Publish(record);
    }
    return true;
  }

  // The reason where nothing was written.
  std::optional<AuditReason> Append(const std::string& lines) {
    if (reopen_wanted_) {
      Status reopened = file_.Reopen();
      reopen_wanted_ = !reopened;
      Tell(reopen_complained_, reopened);
    }
    if (lines.empty()) return std::nullopt;
    Status written = file_.Append(lines);
    Tell(write_complained_, written);
    if (written) return std::nullopt;
    return ReasonOfErrno(written.error().error_number);
  }

  // Once when it begins, once when it ends.
  void Tell(bool& complained, const Status& status) {
    if (complained == !status || !options_.complain) return;
    complained = !status;
    options_.complain(complained ? status.error().message : file_.path() + ": works again");
  }

  static size_t TallyIndex(const AuditRecord& record) {
    return (static_cast<size_t>(record.event) * kAuditVerdicts +
            static_cast<size_t>(record.verdict)) *
               kAuditReasons +
           static_cast<size_t>(record.reason);
  }
  std::array<std::atomic<uint64_t>, kAuditEvents * kAuditVerdicts * kAuditReasons> tally_{};

  AuditFile file_;  // the thread's
  const AuditLogOptions options_;
  const size_t batch_bytes_;
  bool reopen_wanted_ = false, reopen_complained_ = false, write_complained_ = false;  // likewise

  mutable std::mutex mutex_;
  std::condition_variable something_, handled_some_;
  std::deque<AuditRecordPtr> queue_;
  size_t queued_bytes_ = 0;
  uint64_t submitted_ = 0, handled_ = 0;
  Counts dropped_{}, reported_{};
  bool stop_ = false, reopen_ = false, failing_ = false;

  std::thread thread_;  // last: it uses all of the above
};

Result<std::unique_ptr<AuditLog>> AuditLog::Open(AuditLogOptions options) {
  Result<AuditFile> file = AuditFile::Open(options.file, options.max_bytes, options.keep);
  if (!file) return Forward(file);
  return std::unique_ptr<AuditLog>(
      new AuditLog(std::make_unique<Impl>(std::move(*file), std::move(options))));
}

AuditLog::AuditLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AuditLog::~AuditLog() = default;
void AuditLog::Write(AuditRecord record) { impl_->Write(std::move(record)); }
void AuditLog::Reopen() { impl_->Reopen(); }
void AuditLog::Flush() { impl_->Flush(); }
AuditDrops AuditLog::Drops() const { return impl_->Drops(); }
std::vector<AuditCount> AuditLog::Counts() const { return impl_->CountsByKind(); }

}  // namespace landgate::agent
