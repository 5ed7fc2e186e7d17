#include "agent/control/control_request.h"

#include <optional>
#include <set>
#include <vector>

namespace landgate::agent {
namespace {

constexpr std::string_view kPaths =
    "/v1/containers, /v1/containers/ID, /v1/containers/ID/policy, /v1/events, /v1/version, "
    "/metrics";

tl::unexpected<ControlError> Fail(unsigned status, std::string message) {
  return tl::unexpected(ControlError{status, std::move(message)});
}

std::optional<unsigned> HexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

// Printable ASCII alone comes out: nothing that this API names holds anything else, and what is
// refused may stand in an error message.
std::optional<std::string> PercentDecoded(std::string_view text) {
  std::string decoded;
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '%') {
      if (text.size() - at < 3) return std::nullopt;
      const std::optional<unsigned> high = HexDigit(text[at + 1]);
      const std::optional<unsigned> low = HexDigit(text[at + 2]);
      if (!high || !low) return std::nullopt;
      c = static_cast<char>(*high << 4 | *low);
      at += 2;
    }
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f) {
      return std::nullopt;
    }
    decoded += c;
  }
  return decoded;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

struct Path {
  Endpoint endpoint;
  std::string container;
};

tl::expected<Path, ControlError> ParsePath(std::string_view path, Surface surface) {
  if (path == "/metrics") return Path{Endpoint::kMetrics, ""};
  const auto unknown = [&] {
    return Fail(404, surface == Surface::kControl
                         ? "no such path; there are " + std::string(kPaths)
                         : "no such path; there is /metrics; the rest is on the control socket");
  };
  if (surface == Surface::kMetricsOnly) return unknown();
  if (path == "/v1/containers") return Path{Endpoint::kContainers, ""};
  if (path == "/v1/events") return Path{Endpoint::kEvents, ""};
  if (path == "/v1/version") return Path{Endpoint::kVersion, ""};
  // "", v1, containers, ID[, policy]: split before it is decoded, so that an encoded slash is none.
  const std::vector<std::string_view> parts = Split(path, '/');
  if (parts.size() < 4 || parts.size() > 5 || !parts[0].empty() || parts[1] != "v1" ||
      parts[2] != "containers" || parts[3].empty() || (parts.size() == 5 && parts[4] != "policy")) {
    return unknown();
  }
  std::optional<std::string> id = PercentDecoded(parts[3]);
  if (!id) return Fail(400, "bad percent-encoding, or a character that no container's id has");
  return Path{parts.size() == 5 ? Endpoint::kPolicy : Endpoint::kContainer, std::move(*id)};
}

tl::expected<EventFilter, ControlError> ParseFilter(std::string_view query) {
  EventFilter filter;
  std::set<std::string_view> seen;
  for (const std::string_view parameter : Split(query, '&')) {
    const size_t equals = parameter.find('=');
    const std::string_view key = parameter.substr(0, equals);
    const std::optional<std::string> value = PercentDecoded(
        equals == std::string_view::npos ? std::string_view() : parameter.substr(equals + 1));
    if (key != "denied" && key != "container") {
      return Fail(400, "unknown parameter; there are denied=1 and container=ID");
    }
    if (!seen.insert(key).second) return Fail(400, std::string(key) + ": given twice");
    if (!value || value->empty()) return Fail(400, std::string(key) + ": no or bad value");
    if (key == "container") {
      filter.container = *value;
    } else if (*value == "1" || *value == "0") {
      filter.denied_only = *value == "1";
    } else {
      return Fail(400, "denied: must be 0 or 1");
    }
  }
  return filter;
}

}  // namespace

tl::expected<ControlRequest, ControlError> ParseControlRequest(std::string_view method,
                                                               std::string_view target,
                                                               Surface surface) {
  const size_t question = target.find('?');
  const auto path = ParsePath(target.substr(0, question), surface);
  if (!path) return tl::unexpected(path.error());
  if (method != "GET" && method != "HEAD") return Fail(405, "this path takes GET only");
  ControlRequest request{path->endpoint, path->container, {}};
  if (question == std::string_view::npos) return request;
  if (request.endpoint != Endpoint::kEvents) return Fail(400, "this path takes no parameters");
  auto filter = ParseFilter(target.substr(question + 1));
  if (!filter) return tl::unexpected(filter.error());
  request.filter = std::move(*filter);
  return request;
}

}  // namespace landgate::agent
