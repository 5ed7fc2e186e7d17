#include "agent/ctl/ctl_event_line.h"

#include <unistd.h>

#include <algorithm>

#include "agent/ctl/ctl_output.h"
#include "base/printable.h"

namespace landgate::ctl {
namespace {

constexpr size_t kShortId = 12;

std::string Text(const Json& record, const char* key) {
  if (!record.is_object() || !record.contains(key)) return "";
  const Json& value = record[key];
  return value.is_string() ? Printable(value.get<std::string>())
                           : (value.is_number() ? value.dump() : "");
}

// Milliseconds are enough for people: 2026-11-22T03:04:05.678901Z
std::string Time(const std::string& time) {
  constexpr size_t kMilliseconds = 23;
  return time.size() > kMilliseconds ? time.substr(0, kMilliseconds) + "Z" : time;
}

std::string Verdict(const std::string& verdict) {
  const Colour colour = verdict == "deny"    ? Colour::kRed
                        : verdict == "audit" ? Colour::kYellow
                        : verdict == "allow" ? Colour::kGreen
                                             : Colour::kNone;
  return Coloured(STDOUT_FILENO, colour, verdict);
}

std::string Rights(const Json& record) {
  std::string text;
  if (!record.contains("rights") || !record["rights"].is_array()) return text;
  for (const Json& right : record["rights"]) {
    if (!right.is_string()) continue;
    text += (text.empty() ? "" : ",") + Printable(right.get<std::string>());
  }
  return text;
}

// "cat[4242]"; with the pid that the container knows where it has one of its own.
std::string Process(const Json& record) {
  const std::string comm = Text(record, "comm");
  const std::string pid = Text(record, "pid");
  if (comm.empty() && pid.empty()) return "";
  const std::string inside = Text(record, "nspid");
  const bool differs = !inside.empty() && inside != pid;
  return comm + "[" + pid + (differs ? ", inside " + inside : "") + "]";
}

void Append(std::string& line, const std::string& part, const char* before = " ") {
  if (!part.empty()) line += before + part;
}

}  // namespace

std::string EventLine(const Json& record) {
  std::string line = Time(Text(record, "time"));
  const std::string event = Text(record, "event");
  Append(line, Text(record, "container").substr(0, kShortId));
  if (event != "access") Append(line, Coloured(STDOUT_FILENO, Colour::kBold, event));
  Append(line, Verdict(Text(record, "verdict")));
  Append(line, Text(record, "syscall"));
  Append(line, Text(record, "path"));
  Append(line, Text(record, "requestedPath"), " as ");
  Append(line, Text(record, "destination"));
  Append(line, Rights(record), "  ");
  Append(line, Text(record, "reason"), "  ");
  Append(line, Text(record, "rule"));
  Append(line, Text(record, "errno"), "  ");
  Append(line, Process(record), "  ");
  Append(line, Text(record, "message"), ": ");
  return line;
}

bool EventChoice::Wants(const Json& record) const {
  if (!record.is_object()) return false;
  const std::string verdict = Text(record, "verdict");
  if (denied && verdict != "deny" && verdict != "audit") return false;
  return Text(record, "container").starts_with(container);
}

bool EventStream::Next(Event& event) {
  while (true) {
    const size_t end = text_.find("\n\n");
    if (end == std::string::npos) return false;
    event = {"message", ""};
    bool data = false;
    for (size_t at = 0; at < end;) {
      const size_t line_end = std::min(text_.find('\n', at), end);
      const std::string_view line = std::string_view(text_).substr(at, line_end - at);
      if (line.starts_with("event: ")) event.type = line.substr(7);
      if (line.starts_with("data: ")) {
        event.data += line.substr(6);
        data = true;
      }
      at = line_end + 1;
    }
    text_.erase(0, end + 2);
    if (data) return true;  // else a comment
  }
}

}  // namespace landgate::ctl
