#include "hook/runtime_log.h"

#include <fcntl.h>
#include <stdio.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/printable.h"
#include "base/unique_fd.h"

namespace landgate::hook {
namespace {

using Json = nlohmann::ordered_json;

std::string Quoted(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string LogLine(std::string_view message, bool json, time_t now) {
  struct tm utc {};
  (void)gmtime_r(&now, &utc);  // fails for years beyond int only
  char time[32];
  (void)strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &utc);
  if (json) {
    return R"({"level":"error","msg":)" + Quoted(message) + R"(,"time":)" + Quoted(time) + "}\n";
  }
  return "time=" + Quoted(time) + " level=error msg=" + Quoted(message) + "\n";
}

void ReportRuntimeError(std::string_view message, const std::optional<std::string>& log,
                        const std::optional<std::string>& log_format) {
  fprintf(stderr, "%s\n", Printable(message).c_str());
  if (!log || log->empty()) return;
  std::string path = *log;
  if (path.starts_with("file:")) {
    path.erase(0, 5);
  } else if (path.starts_with("syslog:") || path.starts_with("journald:")) {
    return;
  }
  if (path == "/dev/stderr") return;
  const UniqueFd fd(
      open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644));
  if (!fd.valid()) return;
  (void)WriteAll(fd, LogLine(message, log_format == "json", time(nullptr)));  // see the header
}

}  // namespace landgate::hook
