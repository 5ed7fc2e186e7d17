// fuzz: sandbox_apply
// A plan that is accepted has exactly one spelling: the bytes it was read from.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sandbox/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const landgate::Result<landgate::sandbox::Plan> plan = landgate::sandbox::DecodePlan(bytes);
  if (plan && EncodePlan(*plan) != bytes) abort();
  return 0;
}
