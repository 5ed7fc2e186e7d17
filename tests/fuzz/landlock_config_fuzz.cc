// fuzz: policy
//
// What is accepted is consistent: rules name only handled rights, no rule is empty, and composing a
// document with itself changes nothing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/paths.h"
#include "policy/json_reader.h"
#include "policy/landlock_config_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using landgate::policy::Comments;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = landgate::policy::ParseJson(text, "fuzz", Comments::kAllowed);
  if (!json) return 0;
  const auto config =
      landgate::policy::DecodeLandlockConfig(landgate::policy::JsonCursor(*json, "fuzz"));
  if (!config) {
    if (config.error().message.find('\n') != std::string::npos) abort();
    return 0;
  }
  for (const auto& rule : config->paths) {
    if (rule.rights == 0 || (rule.rights & ~config->handled_fs)) abort();
    if (!landgate::IsCleanAbsolute(rule.path)) abort();
  }
  for (const auto& rule : config->ports) {
    if (rule.rights == 0 || (rule.rights & ~config->handled_net)) abort();
  }
  const auto same = landgate::policy::ComposeLandlockConfigs(*config, *config);
  if (same.handled_fs != config->handled_fs || same.handled_net != config->handled_net ||
      same.scoped != config->scoped || same.abi != config->abi ||
      same.paths.size() != config->paths.size() || same.ports.size() != config->ports.size()) {
    abort();
  }
  return 0;
}
