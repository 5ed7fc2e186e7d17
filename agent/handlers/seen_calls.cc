#include "agent/handlers/seen_calls.h"

#include <sys/random.h>
#include <time.h>

#include <cstring>

namespace landgate::agent {
namespace {

// One secret for the life of the process. Without entropy at boot a constant does: only the cost of
// audit mode hangs on it.
uint64_t Seed() {
  static const uint64_t seed = [] {
    uint64_t value = 0;
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value) value = 0;
    return value | 1;
  }();
  return seed;
}

// A wide multiplication mixes every bit of both into the result.
uint64_t Mix(uint64_t one, uint64_t other) {
  __extension__ typedef unsigned __int128 Wide;
  const Wide product = static_cast<Wide>(one ^ 0x9e3779b97f4a7c15) * (other ^ 0xd1b54a32d192ed03);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

Fingerprint::Fingerprint() : state_(Seed()) {
  struct timespec now {};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  Add(static_cast<uint64_t>(now.tv_sec));
}

Fingerprint Fingerprint::Timeless() { return Fingerprint(Seed()); }

Fingerprint& Fingerprint::Add(uint64_t value) {
  state_ = Mix(state_ + Seed(), value);
  return *this;
}

Fingerprint& Fingerprint::Add(std::string_view bytes) {
  Add(bytes.size());
  while (bytes.size() >= sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof word);
    state_ = Mix(state_, word);
    bytes.remove_prefix(sizeof word);
  }
  uint64_t rest = 0;
  std::memcpy(&rest, bytes.data(), bytes.size());
  return Add(rest);
}

}  // namespace landgate::agent
