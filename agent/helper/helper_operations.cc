// The operations that helpers perform, in one table. To add one is to add a line here.
#include "agent/helper/helper.h"
#include "agent/helper/mask_restore.h"
#include "agent/helper/over_mount.h"

namespace landgate::agent {
namespace {

constexpr NamedOperation kOperations[] = {
    {kRemoveOverMounts, RemoveOverMountsOperation, /*spends_helper=*/true},
    {kRestoreMasks, RestoreMasksOperation, /*spends_helper=*/true},
};

}  // namespace

std::span<const NamedOperation> HelperOperations() { return kOperations; }

}  // namespace landgate::agent
