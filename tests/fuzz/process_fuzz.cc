// fuzz: oci_specs
// Process documents of `exec`: no input may crash, and a second patch changes nothing.
#include <cstdint>
#include <cstdlib>

#include "oci-specs/process.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto once = landgate::oci::PatchProcess(text, "process.json", 5);
  if (!once) return 0;
  const auto twice = landgate::oci::PatchProcess(*once, "process.json", 5);
  if (!twice || *twice != *once) abort();
  return 0;
}
