#include "hook/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

namespace landgate::hook {
namespace {

using testing::HasSubstr;

Record Sample() {
  Record record;
  record.id = "c1";
  record.bundle = "/b";
  record.pid = 42;
  record.start_time = 4711;
  record.policies = {"base", "work"};
  record.exec_sessions = policy::ExecSessions::kRefused;
  record.exec_socket = "/run/x.sock";
  record.keep = CapabilitySet{1} << 5;
  record.launcher = {8, 1, 0xffffffffffffffff};
  record.plan = {0, 22, 7};
  return record;
}

class RecordTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/landgate-record-XXXXXX";
    ASSERT_TRUE(mkdtemp(pattern));
    dir_ = pattern;
  }
  void TearDown() override { ASSERT_EQ(system(("rm -rf " + dir_).c_str()), 0); }
  std::string dir_;
};

TEST_F(RecordTest, ReadsWhatItWrote) {
  const Result<Record> read = DecodeRecord(EncodeRecord(Sample()), "r");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(EncodeRecord(*read), EncodeRecord(Sample()));
  EXPECT_EQ(read->launcher, Sample().launcher);
  EXPECT_EQ(read->keep, Sample().keep);
  EXPECT_EQ(read->exec_sessions, policy::ExecSessions::kRefused);

  Record bare = Sample();
  bare.keep.reset();
  bare.exec_socket.clear();
  const Result<Record> again = DecodeRecord(EncodeRecord(bare), "r");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->keep);
}

TEST_F(RecordTest, NamesModeListenerAndAgent) {
  Record record = Sample();
  record.mode = oci::Mode::kAudit;
  record.listener = ListenerVariant::kAgent;
  record.agent_socket = "/run/agent.sock";
  const std::string text = EncodeRecord(record);
  EXPECT_THAT(text, HasSubstr("\"listener\": \"agent\""));
  const Result<Record> read = DecodeRecord(text, "r");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->mode, oci::Mode::kAudit);
  EXPECT_EQ(read->listener, ListenerVariant::kAgent);
  EXPECT_EQ(read->agent_socket, "/run/agent.sock");
}

// A container may outlive the release that recorded it.
TEST_F(RecordTest, ReadsRecordsFromBeforeThereWasAnAgent) {
  const Result<Record> read = DecodeRecord(R"({"id": "c1", "bundle": "/b", "pid": 42,
      "startTime": 1, "policies": ["base"], "execSessions": "confined",
      "launcher": {"major": 8, "minor": 1, "inode": 2}, "plan": {"major": 0, "minor": 2, "inode": 7}})",
                                           "r");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->mode, oci::Mode::kEnforce);
  EXPECT_EQ(read->listener, ListenerVariant::kNone);
  EXPECT_EQ(read->agent_socket, "");
}

TEST_F(RecordTest, RefusesWhatIsNotARecord) {
  EXPECT_FALSE(DecodeRecord("", "r"));
  EXPECT_FALSE(DecodeRecord("{}", "r"));
  EXPECT_FALSE(DecodeRecord("[]", "r"));
  std::string unknown = EncodeRecord(Sample());
  unknown.replace(unknown.find("\"policies\""), 10, "\"polices\" ");
  EXPECT_FALSE(DecodeRecord(unknown, "r"));
  std::string exec = EncodeRecord(Sample());
  exec.replace(exec.find("\"refused\""), 9, "\"maybe\"");
  const Result<Record> bad = DecodeRecord(exec, "r");
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("/execSessions"));
}

TEST_F(RecordTest, IsFoundByIdAndRemovedCompletely) {
  const std::string run = dir_ + "/run";
  EXPECT_FALSE(*ReadRecord(run, "c1")) << "nothing is there yet";
  ASSERT_TRUE(MakeRunDirectory(run, "containers"));
  ASSERT_TRUE(MakeDirectories(ContainerDirectory(run, "c1"), 0700));
  const std::string file = ContainerDirectory(run, "c1") + "/record.json";
  ASSERT_TRUE(WriteFileAtomically(file, EncodeRecord(Sample()), 0600));
  Result<std::optional<Record>> found = ReadRecord(run, "c1");
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_TRUE(*found);
  EXPECT_EQ((*found)->bundle, "/b");
  ASSERT_TRUE(RemoveContainer(run, "c1"));
  EXPECT_NE(access(ContainerDirectory(run, "c1").c_str(), F_OK), 0);
  EXPECT_TRUE(RemoveContainer(run, "c1")) << "a second time is no error";
}

TEST_F(RecordTest, OfAnotherContainerOrUnreadableIsAnErrorAndNotNone) {
  const std::string run = dir_ + "/run";
  ASSERT_TRUE(MakeDirectories(ContainerDirectory(run, "c2"), 0700));
  const std::string file = ContainerDirectory(run, "c2") + "/record.json";
  ASSERT_TRUE(WriteFileAtomically(file, EncodeRecord(Sample()), 0600));
  EXPECT_FALSE(ReadRecord(run, "c2"));
  ASSERT_TRUE(WriteFileAtomically(file, "{", 0600));
  EXPECT_FALSE(ReadRecord(run, "c2"));
  Record renamed = Sample();
  renamed.id = "c2";
  ASSERT_TRUE(WriteFileAtomically(file, EncodeRecord(renamed), 0666));
  EXPECT_FALSE(ReadRecord(run, "c2")) << "others can write it";
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);
  EXPECT_TRUE(ReadRecord(run, "c2"));
}

TEST_F(RecordTest, OfARunningContainerIsNotRemovedAsStale) {
  const std::string run = dir_ + "/run";
  const auto write = [&](const Record& record) {
    ASSERT_TRUE(MakeRunDirectory(run, "containers"));
    ASSERT_TRUE(MakeDirectories(ContainerDirectory(run, "c1"), 0700));
    ASSERT_TRUE(WriteFileAtomically(ContainerDirectory(run, "c1") + "/record.json",
                                    EncodeRecord(record), 0600));
  };
  Record running = Sample();
  running.pid = getpid();
  const Result<uint64_t> start_time = ProcessStartTime(getpid());
  ASSERT_TRUE(start_time) << start_time.error().message;
  ASSERT_NE(*start_time, 0U);
  running.start_time = *start_time;
  write(running);
  const Status kept = RemoveStale(run, "c1");
  ASSERT_FALSE(kept);
  EXPECT_THAT(kept.error().message, HasSubstr("runs under a policy already"));
  EXPECT_TRUE(*ReadRecord(run, "c1"));

  Record reused = running;  // the pid is another process's by now
  reused.start_time += 1;
  EXPECT_FALSE(IsAlive(reused));
  write(reused);
  EXPECT_TRUE(RemoveStale(run, "c1"));
  EXPECT_FALSE(*ReadRecord(run, "c1"));
  EXPECT_TRUE(RemoveStale(run, "c1")) << "nothing is there";
}

TEST_F(RecordTest, ARunDirectoryThatOthersCanWriteIsRefused) {
  const std::string run = dir_ + "/run";
  ASSERT_TRUE(MakeRunDirectory(run, "exec"));
  ASSERT_EQ(chmod(run.c_str(), 0777), 0);
  const Result<std::string> made = MakeRunDirectory(run, "exec");
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("nobody else can write"));
}

}  // namespace
}  // namespace landgate::hook
