#include "policy/decide_layer.h"

#include <algorithm>

#include "base/paths.h"

namespace landgate::policy {

Rights DeniedByLayer(const LandlockConfig& layer, std::string_view path, Rights asked) {
  Rights granted = 0;
  for (const LandlockConfig::Path& rule : layer.paths) {
    if (IsAtOrBeneath(path, rule.path)) granted |= rule.rights & ~kNameRights;
    if (IsBeneath(path, rule.path)) granted |= rule.rights & kNameRights;
  }
  return asked & layer.handled_fs & ~granted;
}

bool LayerDeniesPort(const LandlockConfig& layer, uint64_t right, uint16_t port) {
  if ((layer.handled_net & right) == 0) return false;
  return std::none_of(layer.ports.begin(), layer.ports.end(),
                      [right, port](const LandlockConfig::Port& rule) {
                        return rule.port == port && (rule.rights & right) != 0;
                      });
}

}  // namespace landgate::policy
