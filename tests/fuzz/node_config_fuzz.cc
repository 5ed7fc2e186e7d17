// fuzz: node
// config.json of the node: any bytes are decoded or refused with a message.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "node/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const landgate::Result<landgate::node::Config> config =
      landgate::node::DecodeConfig(text, "config.json", {});
  if (!config && config.error().message.find("config.json") == std::string::npos) abort();
  return 0;
}
