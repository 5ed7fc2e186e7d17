#include "agent/log.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <utility>

#include "base/files.h"
#include "base/printable.h"

namespace landgate::agent {
namespace {

constexpr size_t kMaxPrintable = 512;

// JOURNAL_STREAM is DEVICE:INODE of the stream that the journal reads, systemd.exec(5).
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st;
  if (stream == nullptr || fstat(STDERR_FILENO, &st) != 0) return false;
  return stream == fmt::format("{}:{}", st.st_dev, st.st_ino);
}

int Priority(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical:
      return 2;
    case spdlog::level::err:
      return 3;
    case spdlog::level::warn:
      return 4;
    case spdlog::level::info:
      return 6;
    case spdlog::level::trace:
    case spdlog::level::debug:
    case spdlog::level::off:
    case spdlog::level::n_levels:
      return 7;
  }
  return 7;
}

class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit StderrSink(bool journal) : journal_(journal) {
    set_pattern_(journal ? "%v" : "%Y-%m-%dT%H:%M:%S.%e%z %l: %v");
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    if (journal_) fmt::format_to(std::back_inserter(line), "<{}>", Priority(message.level));
    formatter_->format(message, line);
    // Nobody is left to be told that the log can't be written.
    (void)WriteAll(BorrowedFd(STDERR_FILENO), std::string_view(line.data(), line.size()));
  }
  void flush_() override {}

 private:
  const bool journal_;
};

}  // namespace

std::unique_ptr<spdlog::logger> MakeLog() {
  return std::make_unique<spdlog::logger>("landgate-agent",
                                          std::make_shared<StderrSink>(StderrIsJournal()));
}

std::string Printable(std::string_view text) {
  std::string printable = landgate::Printable(text.substr(0, kMaxPrintable));
  if (text.size() > kMaxPrintable) printable += "…";
  return printable;
}

}  // namespace landgate::agent
