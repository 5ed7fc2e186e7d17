// Kernel constants and structures that the headers of Debian 12 lack or have only in part.
// The only place for them. Source: include/uapi/linux of the named kernel version.
#ifndef LANDGATE_BASE_LINUX_ABI_H_
#define LANDGATE_BASE_LINUX_ABI_H_

#include <cstdint>

namespace landgate::abi {

// --- Landlock (linux/landlock.h) -------------------------------------------------------------
struct LandlockRulesetAttr {
  uint64_t handled_access_fs;   // ABI 1
  uint64_t handled_access_net;  // ABI 4
  uint64_t scoped;              // ABI 6
};
struct LandlockPathBeneathAttr {
  uint64_t allowed_access;
  int32_t parent_fd;
} __attribute__((packed));
struct LandlockNetPortAttr {
  uint64_t allowed_access;
  uint64_t port;  // host byte order
};
inline constexpr uint32_t kLandlockCreateRulesetVersion = 1U << 0;
inline constexpr int kLandlockRulePathBeneath = 1;
inline constexpr int kLandlockRuleNetPort = 2;  // ABI 4
inline constexpr int kLandlockMaxLayers = 16;   // the 17th restrict_self is E2BIG

enum LandlockFs : uint64_t {
  kFsExecute = 1ULL << 0,  // ABI 1 (Linux 5.13) up to MAKE_SYM
  kFsWriteFile = 1ULL << 1,
  kFsReadFile = 1ULL << 2,
  kFsReadDir = 1ULL << 3,
  kFsRemoveDir = 1ULL << 4,
  kFsRemoveFile = 1ULL << 5,
  kFsMakeChar = 1ULL << 6,
  kFsMakeDir = 1ULL << 7,
  kFsMakeReg = 1ULL << 8,
  kFsMakeSock = 1ULL << 9,
  kFsMakeFifo = 1ULL << 10,
  kFsMakeBlock = 1ULL << 11,
  kFsMakeSym = 1ULL << 12,
  kFsRefer = 1ULL << 13,        // ABI 2 (5.19)
  kFsTruncate = 1ULL << 14,     // ABI 3 (6.2)
  kFsIoctlDev = 1ULL << 15,     // ABI 5 (6.10)
  kFsResolveUnix = 1ULL << 16,  // ABI 9 (7.1)
};
// What a rule on anything but a directory may carry; the others are EINVAL.
inline constexpr uint64_t kFsFileRights =
    kFsExecute | kFsWriteFile | kFsReadFile | kFsTruncate | kFsIoctlDev | kFsResolveUnix;

enum LandlockNet : uint64_t {
  kNetBindTcp = 1ULL << 0,         // ABI 4 (6.7)
  kNetConnectTcp = 1ULL << 1,      // ABI 4
  kNetBindUdp = 1ULL << 2,         // ABI 10 (7.2)
  kNetConnectSendUdp = 1ULL << 3,  // ABI 10
};
enum LandlockScope : uint64_t {
  kScopeAbstractUnix = 1ULL << 0,  // ABI 6 (6.12)
  kScopeSignal = 1ULL << 1,        // ABI 6
};

// --- mounts (linux/mount.h) ---------------------------------------------------------------------
struct MountAttr {
  uint64_t attr_set;
  uint64_t attr_clr;
  uint64_t propagation;
  uint64_t userns_fd;
};
inline constexpr uint64_t kMountAttrRdonly = 0x1;
inline constexpr uint64_t kMountAttrNosuid = 0x2;
inline constexpr uint64_t kMountAttrNodev = 0x4;
inline constexpr uint64_t kMountAttrNoexec = 0x8;
inline constexpr unsigned kOpenTreeClone = 1;
inline constexpr unsigned kMoveMountFEmptyPath = 0x4;   // MOVE_MOUNT_F_EMPTY_PATH
inline constexpr unsigned kMoveMountTEmptyPath = 0x40;  // MOVE_MOUNT_T_EMPTY_PATH
inline constexpr unsigned kAtRecursive = 0x8000;        // AT_RECURSIVE
inline constexpr unsigned kFsopenCloexec = 1;
inline constexpr unsigned kFsmountCloexec = 1;
inline constexpr unsigned kFsconfigSetString = 1;
inline constexpr unsigned kFsconfigCmdCreate = 6;

// --- seccomp user notification (linux/seccomp.h) ------------------------------------------------
inline constexpr unsigned long kSeccompNotifSetFlags =
    0x40082104;  // SECCOMP_IOCTL_NOTIF_SET_FLAGS, 6.6
inline constexpr unsigned long kSeccompWaitKillableRecv =
    1UL << 5;  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 5.19; needs NEW_LISTENER
inline constexpr uint64_t kSeccompFdSyncWakeUp = 1;  // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP

// --- system call numbers newer than the headers; the generic table, the same on every 64-bit port
inline constexpr long kNrOpenTreeAttr = 467;  // Linux 6.15

// --- sockets ---------------------------------------------------------------------------------
inline constexpr int kIpprotoMptcp = 262;
inline constexpr int kSoPeerPidfd = 77;  // SO_PEERPIDFD, Linux 6.5
inline constexpr unsigned kMsgFastopen = 0x20000000;

}  // namespace landgate::abi

#endif  // LANDGATE_BASE_LINUX_ABI_H_
