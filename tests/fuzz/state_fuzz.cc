// fuzz: oci_specs
// States from a runtime: no input may crash, and an id that is accepted is fit to be a file name.
#include <cstdint>
#include <cstdlib>

#include "oci-specs/state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto check = [](const landgate::oci::State& state) {
    if (state.id.empty() || state.id.find('/') != std::string::npos || state.id == "." ||
        state.id == ".." || state.pid < 0 || state.bundle.empty()) {
      abort();
    }
  };
  if (const auto state = landgate::oci::DecodeState(text, "state")) check(*state);
  if (const auto decoded = landgate::oci::DecodeContainerProcessState(text)) check(decoded->state);
  return 0;
}
