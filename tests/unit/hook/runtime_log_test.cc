#include "hook/runtime_log.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/files.h"

namespace landgate::hook {
namespace {

TEST(RuntimeLog, WritesTheFormatsThatEnginesRead) {
  EXPECT_EQ(LogLine("no \"x\"", true, 0),
            "{\"level\":\"error\",\"msg\":\"no \\\"x\\\"\",\"time\":\"1970-01-01T00:00:00Z\"}\n");
  EXPECT_EQ(LogLine("no \"x\"", false, 0),
            "time=\"1970-01-01T00:00:00Z\" level=error msg=\"no \\\"x\\\"\"\n");
}

TEST(RuntimeLog, IsOneLineOfJsonForAnyBytes) {
  const std::string line = LogLine("a\nb\xff\x01", true, 0);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_TRUE(nlohmann::json::accept(line));
}

TEST(RuntimeLog, AppendsToTheFileInBothSpellings) {
  char path[] = "/tmp/landgate-log-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  close(fd);
  ReportRuntimeError("one", path, "json");
  ReportRuntimeError("two", "file:" + std::string(path), "text");
  ReportRuntimeError("three", "syslog:x", "json");
  const Result<std::string> text = ReadFile(path);
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("\"msg\":\"one\""), std::string::npos);
  EXPECT_NE(text->find("msg=\"two\""), std::string::npos);
  EXPECT_EQ(text->find("three"), std::string::npos);
  unlink(path);
}

}  // namespace
}  // namespace landgate::hook
