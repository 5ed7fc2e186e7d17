// The audit log on a real file system: how its file is made, rotated and reopened, and what it
// survives.
#include "agent/control/audit_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "agent/limits.h"
#include "base/unique_fd.h"
#include "policy/json_reader.h"

namespace landgate::agent {
namespace {

namespace fs = std::filesystem;
using policy::Json;
using testing::HasSubstr;

AuditRecord Numbered(uint64_t number, size_t padding = 0) {
  AuditRecord record;
  record.verdict = AuditVerdict::kDeny;
  record.reason = AuditReason::kNotCovered;
  record.container = "c";
  record.path = "/" + std::string(padding, 'x');
  record.pid = static_cast<pid_t>(number);
  return record;
}

class AuditLogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "audit-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    options_.file = directory_ + "/log/audit.jsonl";
    options_.complain = [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      complaints_.push_back(line);
    };
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::unique_ptr<AuditLog> Open() {
    auto log = AuditLog::Open(options_);
    EXPECT_TRUE(log) << log.error().message;
    return log ? std::move(*log) : nullptr;
  }
  std::string Refusal() {
    auto log = AuditLog::Open(options_);
    EXPECT_FALSE(log);
    return log ? "" : log.error().message;
  }
  // Every line must be a record.
  static std::vector<Json> Records(const std::string& path) {
    std::ifstream file(path);
    std::vector<Json> records;
    for (std::string line; std::getline(file, line);) {
      auto json = policy::ParseJson(line, path, policy::Comments::kRefused);
      EXPECT_TRUE(json) << path << ": " << line.substr(0, 200);
      if (json) records.push_back(*json);
    }
    return records;
  }
  std::vector<std::string> Complaints() {
    const std::lock_guard lock(mutex_);
    return complaints_;
  }
  // What the log says was lost, by reason.
  static std::map<std::string, uint64_t> Lost(const std::vector<Json>& records) {
    std::map<std::string, uint64_t> lost;
    for (const Json& record : records)
      if (record["event"] == "audit_dropped")
        lost[record["reason"].get<std::string>()] += record["count"].get<uint64_t>();
    return lost;
  }

  std::string directory_;
  AuditLogOptions options_;
  std::mutex mutex_;
  std::vector<std::string> complaints_;
};

TEST_F(AuditLogTest, MakesDirectoryAndFileForItsOwnerAlone) {
  const mode_t before = umask(0);
  const auto log = Open();
  umask(before);
  struct stat st;
  ASSERT_EQ(stat(options_.file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  ASSERT_EQ(stat((directory_ + "/log").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0750u);
}

TEST_F(AuditLogTest, RecordsAreLinesInOrder) {
  {
    const auto log = Open();
    for (uint64_t i = 1; i <= 1000; ++i) log->Write(Numbered(i));
    log->Flush();
    EXPECT_EQ(Records(options_.file).size(), 1000u);
    for (uint64_t i = 1001; i <= 1500; ++i) log->Write(Numbered(i));
  }  // what is queued is written
  const auto records = Records(options_.file);
  ASSERT_EQ(records.size(), 1500u);
  for (size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i]["pid"], i + 1);
}

TEST_F(AuditLogTest, AppendsAndEndsALineThatACrashTore) {
  fs::create_directory(directory_ + "/log");
  std::ofstream(options_.file) << R"({"time":"x"})"
                               << "\n"
                               << R"({"time":"to)";
  chmod(options_.file.c_str(), 0600);
  const auto log = Open();
  log->Write(Numbered(7));
  log->Flush();
  std::ifstream file(options_.file);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, R"({"time":"x"})");
  std::getline(file, line);
  EXPECT_EQ(line, R"({"time":"to)");
  std::getline(file, line);
  EXPECT_THAT(line, HasSubstr(R"("pid":7)"));
}

TEST_F(AuditLogTest, RefusesWhatOthersCouldUse) {
  fs::create_directory(directory_ + "/log");
  std::ofstream(directory_ + "/victim") << "keep";
  fs::create_symlink(directory_ + "/victim", options_.file);
  EXPECT_THAT(Refusal(), HasSubstr("symbolic link"));
  fs::remove(options_.file);

  fs::create_hard_link(directory_ + "/victim", options_.file);
  EXPECT_THAT(Refusal(), HasSubstr("hard link"));
  fs::remove(options_.file);

  ASSERT_EQ(mkfifo(options_.file.c_str(), 0600), 0);
  EXPECT_THAT(Refusal(), HasSubstr("not a regular file"));
  fs::remove(options_.file);

  fs::create_directory(options_.file);
  EXPECT_NE(Refusal(), "");
  fs::remove(options_.file);

  std::ofstream(options_.file) << "";
  chmod(options_.file.c_str(), 0622);
  EXPECT_THAT(Refusal(), HasSubstr("others can write this file"));
  fs::remove(options_.file);

  chmod((directory_ + "/log").c_str(), 0777);
  EXPECT_THAT(Refusal(), HasSubstr("others could replace the audit log"));
  chmod((directory_ + "/log").c_str(), 0755);
  EXPECT_NE(Open(), nullptr);

  std::ifstream victim(directory_ + "/victim");
  std::string content;
  std::getline(victim, content);
  EXPECT_EQ(content, "keep");
  options_.file = "audit.jsonl";
  EXPECT_THAT(Refusal(), HasSubstr("absolute"));
}

TEST_F(AuditLogTest, RefusesAFileOfSomebodyElse) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  fs::create_directory(directory_ + "/log");
  std::ofstream(options_.file) << "";
  ASSERT_EQ(chown(options_.file.c_str(), 0, 0), 0);
  const auto log = Open();
  EXPECT_NE(log, nullptr);
  // Root's file is accepted by root; a file of nobody's is not.
  ASSERT_EQ(chown(options_.file.c_str(), 65534, 65534), 0);
  EXPECT_THAT(Refusal(), HasSubstr("others can write this file"));
}

TEST_F(AuditLogTest, RotatesAtItsSize) {
  options_.max_bytes = 4096;
  options_.keep = 2;
  {
    const auto log = Open();
    for (uint64_t i = 1; i <= 200; ++i) {
      log->Write(Numbered(i, 100));
      if (i % 7 == 0) log->Flush();
    }
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory_ + "/log")) {
    names.push_back(entry.path().filename());
    EXPECT_LE(entry.file_size(), options_.max_bytes);
    EXPECT_EQ(static_cast<unsigned>(entry.status().permissions()), 0600u);
  }
  EXPECT_THAT(names,
              testing::UnorderedElementsAre("audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"));
  // The last records without a gap, over all three.
  uint64_t expected = 200;
  for (const char* suffix : {"", ".1", ".2"}) {
    const auto records = Records(options_.file + suffix);
    for (auto record = records.rbegin(); record != records.rend(); ++record)
      EXPECT_EQ((*record)["pid"], expected--);
  }
  EXPECT_LT(expected, 190u);
}

TEST_F(AuditLogTest, KeepsNoneWhereNoneIsToBeKept) {
  options_.max_bytes = 1024;
  options_.keep = 0;
  {
    const auto log = Open();
    for (uint64_t i = 1; i <= 50; ++i) log->Write(Numbered(i, 100));
  }
  EXPECT_FALSE(fs::exists(options_.file + ".1"));
  EXPECT_EQ(Records(options_.file).back()["pid"], 50);
}

TEST_F(AuditLogTest, ReopensWhatLogrotateMoved) {
  const auto log = Open();
  log->Write(Numbered(1));
  log->Flush();
  fs::rename(options_.file, options_.file + ".old");
  log->Write(Numbered(2));
  log->Flush();
  log->Reopen();
  log->Write(Numbered(3));
  log->Flush();
  EXPECT_EQ(Records(options_.file + ".old").size(), 2u);
  EXPECT_EQ(Records(options_.file).size(), 1u);
}

TEST_F(AuditLogTest, KeepsTheOldFileWhereTheNewOneCantBeOpened) {
  const auto log = Open();
  fs::rename(options_.file, options_.file + ".old");
  fs::create_symlink("/dev/null", options_.file);
  log->Reopen();
  log->Write(Numbered(1));
  log->Flush();
  EXPECT_EQ(Records(options_.file + ".old").size(), 1u);
  EXPECT_THAT(Complaints(), testing::ElementsAre(HasSubstr("symbolic link")));
  fs::remove(options_.file);
  log->Write(Numbered(2));
  log->Flush();
  EXPECT_EQ(Records(options_.file).size(), 1u);
  EXPECT_EQ(Complaints().size(), 2u);
}

TEST_F(AuditLogTest, ATruncatedFileGoesOnFromItsStart) {
  options_.max_bytes = 4096;
  const auto log = Open();
  for (uint64_t i = 1; i <= 20; ++i) log->Write(Numbered(i));
  log->Flush();
  ASSERT_EQ(truncate(options_.file.c_str(), 0), 0);
  for (uint64_t i = 21; i <= 40; ++i) log->Write(Numbered(i));
  log->Flush();
  EXPECT_FALSE(fs::exists(options_.file + ".1"));
  EXPECT_EQ(Records(options_.file).size(), 20u);
}

TEST_F(AuditLogTest, FileSizeLimitRotatesAndItsSignalKillsNobody) {
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_EQ(signal(SIGXFSZ, SIG_DFL), SIG_DFL);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  {
    const auto log = Open();
    for (uint64_t i = 1; i <= 60; ++i) {
      log->Write(Numbered(i, 100));
      log->Flush();
    }
    EXPECT_EQ(log->Drops().disk_full, 0u);
    // A line that no file here can hold.
    log->Write(Numbered(61, 4000));
    log->Flush();
    EXPECT_EQ(log->Drops().disk_full, 1u);
    log->Write(Numbered(62));
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  const auto records = Records(options_.file);
  EXPECT_EQ(Lost(records), (std::map<std::string, uint64_t>{{"disk_full", 1}}));
  EXPECT_TRUE(fs::exists(options_.file + ".1"));
}

TEST_F(AuditLogTest, AFullDiskIsSurvivedAndTold) {
  fs::create_directory(directory_ + "/log");
  if (unshare(CLONE_NEWNS) < 0) GTEST_SKIP() << "no mount namespace: " << strerror(errno);
  ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  ASSERT_EQ(mount("tmpfs", (directory_ + "/log").c_str(), "tmpfs", 0, "size=64k,mode=755"), 0);
  const std::string ballast = directory_ + "/log/ballast";
  {
    const auto log = Open();
    log->Write(Numbered(1));
    log->Flush();
    {
      const UniqueFd fd(open(ballast.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      const std::string block(4096, 'b');
      while (write(fd.get(), block.data(), block.size()) > 0) {
      }
    }
    uint64_t written = 1;
    // The file's own last block has room for a few.
    while (log->Drops().disk_full == 0 && written < 1000) {
      log->Write(Numbered(++written, 200));
      log->Flush();
    }
    EXPECT_EQ(log->Drops().disk_full, 1u);
    for (int i = 0; i < 10; ++i) log->Write(Numbered(++written, 200));
    log->Flush();
    EXPECT_EQ(log->Drops().disk_full, 11u);
    EXPECT_THAT(Complaints(), testing::ElementsAre(HasSubstr("No space left")));
    fs::remove(ballast);
    log->Write(Numbered(++written));
    log->Flush();
    EXPECT_EQ(log->Drops().disk_full, 11u);
    const auto records = Records(options_.file);  // each line whole
    const auto accesses = std::count_if(records.begin(), records.end(), [](const Json& record) {
      return record["event"] == "access";
    });
    EXPECT_EQ(static_cast<uint64_t>(accesses), written - 11);
    EXPECT_EQ(Complaints().size(), 2u);
    EXPECT_THAT(Complaints().back(), HasSubstr("works again"));
  }
  EXPECT_EQ(Lost(Records(options_.file)), (std::map<std::string, uint64_t>{{"disk_full", 11}}));
  EXPECT_EQ(umount2((directory_ + "/log").c_str(), MNT_DETACH), 0);
}

TEST_F(AuditLogTest, WhatDoesNotFitIsCountedAndTold) {
  constexpr uint64_t kThreads = 4, kEach = 10000;
  options_.max_bytes = uint64_t{1} << 30;
  AuditDrops drops;
  {
    const auto log = Open();
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (uint64_t i = 0; i < kEach; ++i) log->Write(Numbered(i + 1, 2000));
      });
    }
    for (std::thread& thread : threads) thread.join();
    log->Flush();
    drops = log->Drops();
    const auto counts = log->Counts();
    ASSERT_EQ(counts.size(), 1u);
    EXPECT_EQ(counts[0].count, kThreads * kEach);
    EXPECT_EQ(counts[0].reason, AuditReason::kNotCovered);
  }
  EXPECT_GT(drops.queue_full, 0u) << "the queue was never full: the test shows nothing";
  const auto records = Records(options_.file);
  const auto lost = Lost(records);
  EXPECT_EQ(lost, (std::map<std::string, uint64_t>{{"queue_full", drops.queue_full}}));
  uint64_t written = 0;
  for (const Json& record : records)
    if (record["event"] == "access") ++written;
  EXPECT_EQ(written + drops.queue_full, kThreads * kEach);
}

TEST_F(AuditLogTest, EventsGetWhatTheDiskDoesNotTake) {
  Events events;
  options_.events = &events;
  const auto reader = events.Subscribe({}, [] {});
  const auto log = Open();
  log->Write(Numbered(1));
  const auto taken = reader->Take(10);
  ASSERT_EQ(taken.records.size(), 1u);
  EXPECT_EQ(taken.records[0]->pid, 1);
}

}  // namespace
}  // namespace landgate::agent
