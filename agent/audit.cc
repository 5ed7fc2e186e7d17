#include "agent/audit.h"

#include <time.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "policy/json_reader.h"
#include "policy/rights.h"

namespace landgate::agent {
namespace {

using policy::Json;

// The one table of each word, in the order of the enum.
constexpr std::array<std::string_view, kAuditEvents> kEvents = {
    "access",    "exec_session",  "container_started", "container_ended",
    "mask_lost", "mask_restored", "listener_refused",  "audit_dropped"};
constexpr std::array<std::string_view, kAuditVerdicts> kVerdicts = {"", "allow", "deny", "audit"};
constexpr std::array<std::string_view, kAuditReasons> kReasons = {"",
                                                                  "rule",
                                                                  "not_covered",
                                                                  "insufficient_access",
                                                                  "protected",
                                                                  "unsupported",
                                                                  "malformed",
                                                                  "user_denied",
                                                                  "approval_timeout",
                                                                  "rate_limited",
                                                                  "backend_error",
                                                                  "verification_failed",
                                                                  "expired",
                                                                  "exec_session_unconfined",
                                                                  "mask_lost",
                                                                  "busy",
                                                                  "queue_full",
                                                                  "disk_full",
                                                                  "write_failed"};
static_assert(!kEvents.back().empty() && !kVerdicts.back().empty() && !kReasons.back().empty(),
              "a word is missing");

std::string Timestamp(std::chrono::system_clock::time_point time) {
  using std::chrono::microseconds;
  const auto since = std::chrono::floor<microseconds>(time.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const time_t whole = seconds.count();
  struct tm utc = {};
  if (gmtime_r(&whole, &utc) == nullptr) return "";  // a year that does not fit into an int
  char date[40];
  const size_t length = strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  char fraction[16];
  (void)snprintf(fraction, sizeof fraction, ".%06dZ",
                 static_cast<int>((since - seconds).count()));  // cut short: never, six digits
  return std::string(date, length) + fraction;
}

// UTF-8 as RFC 3629 has it; what nlohmann would replace is what this calls wrong.
bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto byte = [&](size_t offset) -> unsigned {
      return at + offset < text.size() ? static_cast<unsigned char>(text[at + offset]) : 0;
    };
    const unsigned lead = byte(0);
    const auto follows = [&](size_t offset, unsigned low = 0x80, unsigned high = 0xbf) {
      return byte(offset) >= low && byte(offset) <= high;
    };
    if (lead < 0x80) {
      at += 1;
    } else if (lead >= 0xc2 && lead <= 0xdf && follows(1)) {
      at += 2;
    } else if (lead >= 0xe0 && lead <= 0xef &&
               follows(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf) && follows(2)) {
      at += 3;
    } else if (lead >= 0xf0 && lead <= 0xf4 &&
               follows(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf) && follows(2) &&
               follows(3)) {
      at += 4;
    } else {
      return false;
    }
  }
  return true;
}

std::string Hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 0xf];
  }
  return text;
}

void AddText(Json& json, const char* key, std::string_view text) {
  if (!text.empty()) json[key] = text;
}
// Text that a workload chose.
void AddBytes(Json& json, const char* key, std::string_view bytes) {
  AddText(json, key, bytes);
  if (!IsUtf8(bytes)) json[std::string(key) + "Hex"] = Hex(bytes);
}

void AddRights(Json& json, std::string_view rights) {
  if (rights.empty()) return;
  Json names = Json::array();
  for (size_t start = 0; start <= rights.size();) {
    const size_t comma = std::min(rights.find(',', start), rights.size());
    names.push_back(rights.substr(start, comma - start));
    start = comma + 1;
  }
  json["rights"] = std::move(names);
}

void AddErrno(Json& json, int error_number) {
  if (error_number == 0) return;
  const char* name = strerrorname_np(error_number);
  json["errno"] = name != nullptr ? std::string(name) : std::to_string(error_number);
}

std::string Prefixed(std::string_view prefix, const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ',';
    text += prefix;
    text += name;
  }
  return text;
}

}  // namespace

std::string_view AuditEventName(AuditEvent event) { return kEvents[static_cast<size_t>(event)]; }
std::string_view AuditVerdictName(AuditVerdict verdict) {
  return kVerdicts[static_cast<size_t>(verdict)];
}
std::string_view AuditReasonName(AuditReason reason) {
  return kReasons[static_cast<size_t>(reason)];
}

AuditReason AuditReasonOf(policy::Reason reason) {
  switch (reason) {
    case policy::Reason::kRule:
      return AuditReason::kRule;
    case policy::Reason::kNotCovered:
      return AuditReason::kNotCovered;
    case policy::Reason::kInsufficientAccess:
      return AuditReason::kInsufficientAccess;
    case policy::Reason::kProtected:
      return AuditReason::kProtected;
    case policy::Reason::kUnsupported:
      return AuditReason::kUnsupported;
    case policy::Reason::kMalformed:
      break;
  }
  return AuditReason::kMalformed;
}

std::string FsRightsText(uint64_t rights) { return Prefixed("fs.", policy::RightNames(rights)); }
std::string NetRightsText(uint64_t rights) {
  return Prefixed("net.", policy::NetRightNames(rights));
}

std::string EncodeAudit(const AuditRecord& record) {
  Json json = Json::object();
  json["time"] = Timestamp(record.time);
  json["event"] = AuditEventName(record.event);
  AddBytes(json, "container", record.container);
  AddBytes(json, "pod", record.pod);
  if (record.pid != 0) json["pid"] = record.pid;
  if (record.nspid != 0) json["nspid"] = record.nspid;
  AddBytes(json, "comm", record.comm);
  AddBytes(json, "exe", record.exe);
  AddText(json, "syscall", record.syscall);
  AddRights(json, record.rights);
  AddBytes(json, "path", record.path);
  AddBytes(json, "requestedPath", record.requested_path);
  AddBytes(json, "destination", record.destination);
  AddText(json, "verdict", AuditVerdictName(record.verdict));
  AddText(json, "reason", AuditReasonName(record.reason));
  AddBytes(json, "rule", record.rule);
  AddErrno(json, record.error_number);
  if (record.count != 0) json["count"] = record.count;
  if (record.latency) json["latencyUs"] = record.latency->count();
  AddBytes(json, "message", record.message);
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace landgate::agent
