// fuzz: agent
// Requests to the control API: no input may crash, and what is accepted is plain text that can
// stand in an answer.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/control/control_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace agent = landgate::agent;
  const std::string_view target(reinterpret_cast<const char*>(data), size);
  const auto plain = [](std::string_view text) {
    for (const char c : text) {
      if (c <= 0x20 || c == 0x7f) abort();
    }
  };
  for (const agent::Surface surface : {agent::Surface::kControl, agent::Surface::kMetricsOnly}) {
    const auto request = agent::ParseControlRequest("GET", target, surface);
    if (!request) {
      if (request.error().status != 400 && request.error().status != 404) abort();
      continue;
    }
    plain(request->container);
    plain(request->filter.container);
    const bool named = request->endpoint == agent::Endpoint::kContainer ||
                       request->endpoint == agent::Endpoint::kPolicy;
    if (named == request->container.empty()) abort();
    if (surface == agent::Surface::kMetricsOnly && request->endpoint != agent::Endpoint::kMetrics) {
      abort();
    }
  }
  return 0;
}
