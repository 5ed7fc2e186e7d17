// fuzz: policy
//
// What is accepted is canonical: the address has no bits behind its prefix, ports are sorted and
// disjoint, names are folded; and an accepted text without its ports is accepted, too.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "policy/destination.h"

using landgate::policy::Destination;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = landgate::policy::ParseDestination(text);
  const auto endpoint = landgate::policy::ParseEndpoint(text);
  if (!parsed) {
    if (endpoint || parsed.error().message.empty()) abort();
    return 0;
  }
  if (parsed->text != text) abort();
  const int bits = parsed->prefix.v6 ? 128 : 32;
  if (parsed->host == Destination::Host::kPrefix) {
    if (parsed->prefix.length > bits) abort();
    for (int bit = parsed->prefix.length; bit < 128; ++bit) {
      if (parsed->prefix.address[static_cast<size_t>(bit / 8)] & (0x80 >> (bit % 8))) abort();
    }
    if (landgate::policy::FoldMapped(parsed->prefix).v6 != parsed->prefix.v6) abort();
  }
  int last = -2;
  for (const auto& range : parsed->ports) {
    if (range.low > range.high || range.low <= last + 1) abort();
    last = range.high;
  }
  if (parsed->host == Destination::Host::kName) {
    for (char c : parsed->name) {
      if (c >= 'A' && c <= 'Z') abort();
    }
    if (parsed->name.empty() || parsed->name.size() > 253) abort();
  }
  if (!parsed->ports.empty() &&
      !landgate::policy::ParseDestination(text.substr(0, text.rfind(':')))) {
    abort();
  }
  if (endpoint && !landgate::policy::PortsCover(parsed->ports, endpoint->port)) abort();
  return 0;
}
