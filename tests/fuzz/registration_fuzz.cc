// fuzz: node
// What a hook tells the agent: any bytes are decoded or refused with a message, and what is decoded
// can be written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "node/registration.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const landgate::Result<landgate::node::Registration> first =
      landgate::node::DecodeRegistration(text);
  if (!first) {
    if (first.error().message.find("registration") == std::string::npos) abort();
    return 0;
  }
  const std::string json = landgate::node::EncodeRegistration(*first);
  const landgate::Result<landgate::node::Registration> second =
      landgate::node::DecodeRegistration(json);
  if (!second || landgate::node::EncodeRegistration(*second) != json) abort();
  if (second->policies != first->policies) abort();
  return 0;
}
