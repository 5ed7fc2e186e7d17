// fuzz: sandbox
// The launcher's answer: what is taken comes out as it went in.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sandbox/command_line.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace landgate;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Result<sandbox::CommandLine> command = sandbox::DecodeCommandLine(bytes);
  if (command && sandbox::EncodeCommandLine(*command) != bytes) abort();
  return 0;
}
