// Rights on paths, ports and scopes by name: the Landlock names of the UAPI, the groups of the
// policy format, and numbers (the UAPI bit mask). Pure; thread-safe.
#ifndef LANDGATE_POLICY_RIGHTS_H_
#define LANDGATE_POLICY_RIGHTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/linux_abi.h"

namespace landgate::policy {

using Rights = uint64_t;  // LANDLOCK_ACCESS_FS_* bits

// Groups. `all` is every right named in version 1 of the policy format, resolve_unix included.
inline constexpr Rights kRead = abi::kFsReadFile | abi::kFsReadDir;
inline constexpr Rights kExecute = abi::kFsExecute;
inline constexpr Rights kWrite = abi::kFsWriteFile | abi::kFsTruncate;
inline constexpr Rights kCreate =
    abi::kFsMakeReg | abi::kFsMakeDir | abi::kFsMakeSym | abi::kFsMakeFifo | abi::kFsMakeSock;
inline constexpr Rights kRemove = abi::kFsRemoveFile | abi::kFsRemoveDir;
inline constexpr Rights kModify = kWrite | kCreate | kRemove | abi::kFsRefer;
inline constexpr Rights kDevice = abi::kFsMakeChar | abi::kFsMakeBlock;
inline constexpr Rights kIoctl = abi::kFsIoctlDev;
inline constexpr Rights kUnix = abi::kFsResolveUnix;
inline constexpr Rights kAll = kRead | kExecute | kModify | kDevice | kIoctl | kUnix;

// Rights that Landlock checks on the directory that holds a name, and not on the object itself.
inline constexpr Rights kNameRights = kCreate | kRemove | kDevice | abi::kFsRefer;

// What a `paths` section handles: every right up to ABI 5. resolve_unix (ABI 9) is handled only
// where a rule names `unix` or `resolve_unix` itself, so that `all` means the same on every kernel.
inline constexpr Rights kHandledByDefault = kAll & ~kUnix;

// "read", "execute", … or "read_file", "make_sym", …; nothing else.
std::optional<Rights> RightsByName(std::string_view name);
// Every name that RightsByName takes: groups first.
const std::vector<std::string_view>& RightSpellings();
// Landlock names of the single bits, lowest first; an unnamed bit reads "bit 17".
std::vector<std::string> RightNames(Rights rights);
// Shortest spelling for people: groups where they are complete, then single names: "read,
// write_file".
std::string DescribeRights(Rights rights);
// The Landlock ABI that introduced this single right (1 for EXECUTE …); 0 for an unknown bit.
int AbiOfRight(Rights single_bit);
// Every FS, net and scope right known to a kernel of this ABI (0 → 0; above 11 → as 11).
Rights FsRightsOfAbi(int abi);
uint64_t NetRightsOfAbi(int abi);
uint64_t ScopesOfAbi(int abi);
int AbiOfNetRight(uint64_t single_bit);
int AbiOfScope(uint64_t single_bit);
std::optional<uint64_t> NetRightByName(std::string_view name);  // "bind_tcp", "connect_tcp", …
std::optional<uint64_t> ScopeByName(std::string_view name);     // "signal", "abstract-unix"
std::vector<std::string> NetRightNames(uint64_t rights);
std::vector<std::string> ScopeNames(uint64_t scopes);  // "abstract-unix", "signal"

}  // namespace landgate::policy

#endif  // LANDGATE_POLICY_RIGHTS_H_
