#include "policy/rights.h"

#include <array>

namespace landgate::policy {
namespace {

struct Bit {
  uint64_t bit;
  std::string_view name;
  int abi;  // the first Landlock ABI that knows it
};

constexpr Bit kFsBits[] = {
    {abi::kFsExecute, "execute", 1},          {abi::kFsWriteFile, "write_file", 1},
    {abi::kFsReadFile, "read_file", 1},       {abi::kFsReadDir, "read_dir", 1},
    {abi::kFsRemoveDir, "remove_dir", 1},     {abi::kFsRemoveFile, "remove_file", 1},
    {abi::kFsMakeChar, "make_char", 1},       {abi::kFsMakeDir, "make_dir", 1},
    {abi::kFsMakeReg, "make_reg", 1},         {abi::kFsMakeSock, "make_sock", 1},
    {abi::kFsMakeFifo, "make_fifo", 1},       {abi::kFsMakeBlock, "make_block", 1},
    {abi::kFsMakeSym, "make_sym", 1},         {abi::kFsRefer, "refer", 2},
    {abi::kFsTruncate, "truncate", 3},        {abi::kFsIoctlDev, "ioctl_dev", 5},
    {abi::kFsResolveUnix, "resolve_unix", 9},
};
constexpr Bit kNetBits[] = {
    {abi::kNetBindTcp, "bind_tcp", 4},
    {abi::kNetConnectTcp, "connect_tcp", 4},
    {abi::kNetBindUdp, "bind_udp", 10},
    {abi::kNetConnectSendUdp, "connect_send_udp", 10},
};
constexpr Bit kScopeBits[] = {
    {abi::kScopeAbstractUnix, "abstract-unix", 6},
    {abi::kScopeSignal, "signal", 6},
};

// Groups of the policy format. `execute` is a Landlock name at the same time. In the order in which
// people read them; a wider group stands before those it contains.
struct Group {
  Rights rights;
  std::string_view name;
};
constexpr Group kGroups[] = {
    {kAll, "all"},     {kRead, "read"},     {kExecute, "execute"}, {kModify, "modify"},
    {kWrite, "write"}, {kCreate, "create"}, {kRemove, "remove"},   {kDevice, "device"},
    {kIoctl, "ioctl"}, {kUnix, "unix"},
};

template <size_t N>
std::optional<uint64_t> ByName(const Bit (&table)[N], std::string_view name) {
  for (const Bit& entry : table) {
    if (entry.name == name) return entry.bit;
  }
  return std::nullopt;
}

template <size_t N>
std::vector<std::string> Names(const Bit (&table)[N], uint64_t bits) {
  std::vector<std::string> names;
  for (int number = 0; number < 64; ++number) {
    const uint64_t bit = uint64_t{1} << number;
    if (!(bits & bit)) continue;
    std::string name = "bit " + std::to_string(number);
    for (const Bit& entry : table) {
      if (entry.bit == bit) name = entry.name;
    }
    names.push_back(std::move(name));
  }
  return names;
}

template <size_t N>
int AbiOf(const Bit (&table)[N], uint64_t bit) {
  for (const Bit& entry : table) {
    if (entry.bit == bit) return entry.abi;
  }
  return 0;
}

template <size_t N>
uint64_t OfAbi(const Bit (&table)[N], int abi) {
  uint64_t bits = 0;
  for (const Bit& entry : table) {
    if (entry.abi <= abi) bits |= entry.bit;
  }
  return bits;
}

}  // namespace

std::optional<Rights> RightsByName(std::string_view name) {
  for (const Group& group : kGroups) {
    if (group.name == name) return group.rights;
  }
  return ByName(kFsBits, name);
}

const std::vector<std::string_view>& RightSpellings() {
  static const std::vector<std::string_view> spellings = [] {
    std::vector<std::string_view> names;
    for (const Group& group : kGroups) names.push_back(group.name);
    for (const Bit& entry : kFsBits) {
      if (entry.bit != kExecute) names.push_back(entry.name);
    }
    return names;
  }();
  return spellings;
}

std::vector<std::string> RightNames(Rights rights) { return Names(kFsBits, rights); }

std::string DescribeRights(Rights rights) {
  if (rights == 0) return "none";
  std::string text;
  auto add = [&text](std::string_view name) {
    if (!text.empty()) text += ", ";
    text += name;
  };
  for (const Group& group : kGroups) {
    if ((rights & group.rights) != group.rights) continue;
    add(group.name);
    rights &= ~group.rights;
  }
  for (const std::string& name : RightNames(rights)) add(name);
  return text;
}

int AbiOfRight(Rights single_bit) { return AbiOf(kFsBits, single_bit); }
int AbiOfNetRight(uint64_t single_bit) { return AbiOf(kNetBits, single_bit); }
int AbiOfScope(uint64_t single_bit) { return AbiOf(kScopeBits, single_bit); }

Rights FsRightsOfAbi(int abi) { return OfAbi(kFsBits, abi); }
uint64_t NetRightsOfAbi(int abi) { return OfAbi(kNetBits, abi); }
uint64_t ScopesOfAbi(int abi) { return OfAbi(kScopeBits, abi); }

std::optional<uint64_t> NetRightByName(std::string_view name) { return ByName(kNetBits, name); }
std::optional<uint64_t> ScopeByName(std::string_view name) { return ByName(kScopeBits, name); }
std::vector<std::string> NetRightNames(uint64_t rights) { return Names(kNetBits, rights); }
std::vector<std::string> ScopeNames(uint64_t scopes) { return Names(kScopeBits, scopes); }

}  // namespace landgate::policy
