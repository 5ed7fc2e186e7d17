#include "sandbox/rights_algebra.h"

#include <span>

#include "base/linux_abi.h"

namespace landgate::sandbox {
namespace {

using policy::Rights;

constexpr Restriction kNothing{};
constexpr Restriction kMasked{.masked = true};

// Weakest first. A read-only directory is nodev too: else its device nodes stay writable.
constexpr Restriction kForDirectories[] = {
    kNothing,
    {.nodev = true},
    {.noexec = true},
    {.noexec = true, .nodev = true},
    {.read_only = true, .nodev = true},
    {.read_only = true, .noexec = true, .nodev = true},
    kMasked,
};
constexpr Restriction kForRegularFiles[] = {
    kNothing, {.noexec = true}, {.read_only = true}, {.read_only = true, .noexec = true}, kMasked,
};
constexpr Restriction kForOthers[] = {kNothing, kMasked};

std::span<const Restriction> Candidates(ObjectType type) {
  switch (type) {
    case ObjectType::kDirectory:
      return kForDirectories;
    case ObjectType::kRegular:
      return kForRegularFiles;
    case ObjectType::kDevice:
    case ObjectType::kFifo:
    case ObjectType::kSocket:
      return kForOthers;
  }
  return kForOthers;
}

bool LeavesWhatIsWanted(ObjectType type, Rights granted, Rights denied, const Restriction& by) {
  const Rights wanted = granted & ~denied;
  const Rights left = granted & ~Taken(type, by);
  if ((left & ~wanted) != 0) return false;
  Rights accepted_loss = 0;
  if (by.read_only) accepted_loss |= policy::kDevice;
  if (by.nodev) accepted_loss |= policy::kIoctl;
  return (wanted & ~left & ~accepted_loss) == 0;
}

}  // namespace

std::string Describe(const Restriction& restriction) {
  if (restriction.masked) return "masked";
  std::string text;
  const auto add = [&text](bool set, const char* name) {
    if (!set) return;
    if (!text.empty()) text += ',';
    text += name;
  };
  add(restriction.read_only, "read-only");
  add(restriction.noexec, "noexec");
  add(restriction.nodev && !restriction.read_only, "nodev");
  return text.empty() ? "nothing" : text;
}

Rights RelevantRights(ObjectType type) {
  switch (type) {
    case ObjectType::kDirectory:
      return ~Rights{0};
    case ObjectType::kRegular:
      return abi::kFsFileRights & ~(policy::kIoctl | policy::kUnix);
    case ObjectType::kDevice:
      return abi::kFsReadFile | abi::kFsWriteFile | abi::kFsTruncate | policy::kIoctl;
    case ObjectType::kFifo:
      return abi::kFsReadFile | abi::kFsWriteFile;
    case ObjectType::kSocket:
      return policy::kUnix;
  }
  return 0;
}

Rights Taken(ObjectType type, const Restriction& restriction) {
  if (restriction.masked) return ~Rights{0};
  Rights taken = 0;
  const bool directory = type == ObjectType::kDirectory;
  const bool holds_data = directory || type == ObjectType::kRegular;
  if (restriction.read_only && holds_data) taken |= policy::kModify | policy::kDevice;
  if (restriction.noexec && holds_data) taken |= policy::kExecute;
  if (restriction.nodev && directory) taken |= policy::kIoctl;
  if (restriction.nodev && type == ObjectType::kDevice) taken |= ~Rights{0};
  return taken;
}

std::optional<Restriction> Choose(ObjectType type, Rights granted, Rights denied,
                                  const Restriction& current) {
  granted &= RelevantRights(type);
  if (LeavesWhatIsWanted(type, granted, denied, current)) return current;
  for (const Restriction& candidate : Candidates(type)) {
    if (LeavesWhatIsWanted(type, granted, denied, candidate)) return candidate;
  }
  return std::nullopt;
}

}  // namespace landgate::sandbox
