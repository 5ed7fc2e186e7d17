#include "agent/audit.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "base/linux_abi.h"
#include "policy/json_reader.h"

namespace landgate::agent {
namespace {

using policy::Json;

Json Parsed(const std::string& line) {
  auto json = policy::ParseJson(line, "line", policy::Comments::kRefused);
  EXPECT_TRUE(json) << (json ? "" : json.error().message) << "\n" << line;
  return json ? *json : Json();
}

// One line, and nothing that a terminal or a line-wise reader could take for something else.
void ExpectPlainLine(const std::string& line) {
  ASSERT_FALSE(line.empty());
  EXPECT_EQ(line.back(), '\n');
  for (size_t i = 0; i + 1 < line.size(); ++i) {
    ASSERT_GE(line[i], 0x20) << i;
    ASSERT_LT(static_cast<unsigned char>(line[i]), 0x7f) << i;
  }
}

TEST(AuditTest, WholeRecord) {
  AuditRecord record;
  record.time = std::chrono::system_clock::time_point(std::chrono::microseconds(1700000000000123));
  record.container = "web-1";
  record.pod = "shop";
  record.pid = 4242;
  record.nspid = 7;
  record.comm = "cat";
  record.exe = "/usr/bin/cat";
  record.syscall = "openat";
  record.rights = FsRightsText(abi::kFsWriteFile | abi::kFsTruncate);
  record.path = "/etc/shadow";
  record.requested_path = "../etc/shadow";
  record.verdict = AuditVerdict::kDeny;
  record.reason = AuditReason::kNotCovered;
  record.rule = "web#/paths/3";
  record.error_number = EACCES;
  record.latency = std::chrono::microseconds(17);
  EXPECT_EQ(EncodeAudit(record),
            R"({"time":"2023-11-14T22:13:20.000123Z","event":"access","container":"web-1",)"
            R"("pod":"shop","pid":4242,"nspid":7,"comm":"cat","exe":"/usr/bin/cat",)"
            R"("syscall":"openat","rights":["fs.write_file","fs.truncate"],"path":"/etc/shadow",)"
            R"("requestedPath":"../etc/shadow","verdict":"deny","reason":"not_covered",)"
            R"("rule":"web#/paths/3","errno":"EACCES","latencyUs":17})"
            "\n");
}

TEST(AuditTest, WhatIsNotKnownIsLeftOut) {
  AuditRecord record;
  record.event = AuditEvent::kContainerEnded;
  record.container = "c";
  const Json json = Parsed(EncodeAudit(record));
  EXPECT_EQ(json.size(), 3u) << json.dump();
  EXPECT_EQ(json["event"], "container_ended");
}

TEST(AuditTest, TimesBeforeTheEpochAndWithoutFraction) {
  AuditRecord record;
  record.time = std::chrono::system_clock::time_point(std::chrono::microseconds(-1));
  EXPECT_EQ(Parsed(EncodeAudit(record))["time"], "1969-12-31T23:59:59.999999Z");
}

TEST(AuditTest, NetworkRights) {
  EXPECT_EQ(NetRightsText(abi::kNetConnectTcp), "net.connect_tcp");
  EXPECT_EQ(FsRightsText(0), "");
}

TEST(AuditTest, HostileBytes) {
  AuditRecord record;
  record.comm = "a\nb\x1b[2J\x7f";
  record.path = "/tmp/\xff\xc3(\xed\xa0\x80\xf5";  // no UTF-8 at all
  record.requested_path =
      "/\xc2\x9b"
      "31m\xe2\x80\xae.txt";  // UTF-8: C1 CSI, right-to-left
  record.destination = std::string("unix:@\0x", 8);
  const std::string line = EncodeAudit(record);
  ExpectPlainLine(line);
  const Json json = Parsed(line);
  EXPECT_EQ(json["comm"], record.comm);
  EXPECT_FALSE(json.contains("commHex"));
  EXPECT_EQ(json["requestedPath"], record.requested_path);
  EXPECT_EQ(json["pathHex"], "2f746d702fffc328eda080f5");
  EXPECT_NE(json["path"], record.path);
}

TEST(AuditTest, TheLongestPath) {
  AuditRecord record;
  record.path = "/" + std::string(4094, '\xff');
  const std::string line = EncodeAudit(record);
  ExpectPlainLine(line);
  EXPECT_EQ(Parsed(line)["pathHex"].get<std::string>().size(), 2 * record.path.size());
}

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// Whatever the bytes are: one plain line, and the bytes can be had back.
RC_GTEST_PROP(AuditProperty, EveryPathComesBack, ()) {
  const auto bytes = *rc::gen::container<std::vector<uint8_t>>(rc::gen::arbitrary<uint8_t>());
  AuditRecord record;
  record.path.assign(bytes.begin(), bytes.end());
  if (record.path.empty()) record.path = "/";
  const std::string line = EncodeAudit(record);
  for (const char c : line.substr(0, line.size() - 1))
    RC_ASSERT(static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f);
  const auto json = policy::ParseJson(line, "line", policy::Comments::kRefused);
  RC_ASSERT(json.has_value());
  if (json->contains("pathHex"))
    RC_ASSERT(FromHex((*json)["pathHex"].get<std::string>()) == record.path);
  else
    RC_ASSERT((*json)["path"].get<std::string>() == record.path);
}

TEST(AuditTest, TheErrnoThatTheCallerSaw) {
  AuditRecord record;
  record.error_number = 524;  // ENOTSUPP: not for user space
  EXPECT_EQ(Parsed(EncodeAudit(record))["errno"], "524");
}

// The words are the same in the code, the manual and the schema.
class Words : public testing::Test {
 protected:
  static std::string ReadText(const std::string& name) {
    std::ifstream file(std::string(LANDGATE_SOURCE_DIR) + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static std::set<std::string> All() {
    std::set<std::string> words;
    for (size_t i = 0; i < kAuditEvents; ++i)
      words.emplace(AuditEventName(static_cast<AuditEvent>(i)));
    for (size_t i = 1; i < kAuditVerdicts; ++i)
      words.emplace(AuditVerdictName(static_cast<AuditVerdict>(i)));
    for (size_t i = 1; i < kAuditReasons; ++i)
      words.emplace(AuditReasonName(static_cast<AuditReason>(i)));
    return words;
  }
};

TEST_F(Words, AreInTheManual) {
  const std::string manual = ReadText("docs/audit.md");
  for (const std::string& word : All()) EXPECT_THAT(manual, testing::HasSubstr("`" + word + "`"));
}

TEST_F(Words, AreThoseOfTheSchema) {
  const Json schema = Parsed(ReadText("agent/audit.schema.json"));
  std::set<std::string> words;
  for (const char* key : {"event", "verdict", "reason"})
    for (const Json& word : schema["properties"][key]["enum"])
      words.insert(word.get<std::string>());
  EXPECT_EQ(words, All());
}

TEST_F(Words, ReasonsOfPoliciesKeepTheirNames) {
  for (int i = 0; i <= static_cast<int>(policy::Reason::kMalformed); ++i) {
    const auto reason = static_cast<policy::Reason>(i);
    EXPECT_EQ(AuditReasonName(AuditReasonOf(reason)), policy::ReasonName(reason));
  }
}

}  // namespace
}  // namespace landgate::agent
