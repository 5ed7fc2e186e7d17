// The shared memory that outlives the serving process: one region per listener, with the slots that
// notifications are received into and what must not be forgotten about it.
//
// A memfd, mapped MAP_SHARED by the serving process and its helpers, kept by the holder. The
// kernel's own copy into a slot is the journal: a slot that is not zero holds a notification that
// nobody has answered for sure, and a successor handles it again after ID_VALID (a notification
// that was received is never delivered again, seccomp_unotify(2)). Nothing here comes from a
// container but the bytes of struct seccomp_notif, which the kernel writes.
//
// Pages are taken from the system as they are touched and given back by Free, so the size of the
// mapping says nothing about memory in use: a listener costs one page until more than a few
// notifications are in hand at the same time.
//
// Thread-safety: a region belongs to the listener that allocated it; a slot to the thread that
// claimed it. Allocation is for the control thread alone; NextKey for all. Layout changes raise
// kAreaVersion; an area of another version or size is refused by Open.
#ifndef LANDGATE_AGENT_NOTIFY_AREA_H_
#define LANDGATE_AGENT_NOTIFY_AREA_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "agent/notify/once.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

inline constexpr uint64_t kAreaMagic = 0x4c474154452d4147;  // "LGATE-AG"
inline constexpr uint32_t kAreaVersion = 1;
inline constexpr uint32_t kMaxListeners = 8192;
// More than the most operations that one container may have open at a time (limits.h), so that
// receiving never stops.
inline constexpr uint32_t kSlotsPerListener = 64;
// struct seccomp_notif is 80 bytes today; SECCOMP_GET_NOTIF_SIZES is asked, and more is refused.
inline constexpr size_t kNotificationBytes = 128;

struct Slot {
  alignas(64) unsigned char notification[kNotificationBytes];  // zero: free
};

enum class Phase : uint32_t { kRuntime = 0, kLauncher = 1, kWorkload = 2 };  // only ever grows

// The layout is fixed: another build of the agent reads it. Regions begin on pages of their own,
// which Free gives back.
inline constexpr size_t kRegionAlignment = 4096;
struct alignas(kRegionAlignment) Region {
  std::atomic<uint32_t> used;   // 0: free
  std::atomic<uint32_t> phase;  // Phase
  // A turned exec session: 0 none, 1 its original command line is in the holder, 2 handed out.
  std::atomic<uint32_t> session;
  std::atomic<int32_t> process;         // tgid of the process that got the filter; 0: not known yet
  std::atomic<uint64_t> listener;       // key in the holder; never used twice
  std::atomic<uint64_t> denied, asked;  // counted here so that a successor goes on counting
  std::atomic<uint32_t> once_used;      // 0: no record of `once` is in use (once_table.h)
  Slot slots[kSlotsPerListener];        // taken from the first on: the rest stays untouched
  OnceRecord once[kOnceRecords];
};

class Area {
 public:
  // A new area, in a memfd sealed against shrinking and growing.
  static Result<Area> Create();
  // A predecessor's. Refused: another magic, version or size.
  static Result<Area> Open(UniqueFd memfd);

  BorrowedFd memfd() const { return memfd_; }
  // An unused region, zeroed but for `used` and `listener`; none: kMaxListeners are in use, or
  // the system has no page for it.
  std::optional<uint32_t> Allocate(uint64_t listener);
  // Gives the region's pages back. What nobody allocated is left alone.
  void Free(uint32_t index);
  // Whether `index` is a region of this area and in use: blobs in the holder name regions.
  bool InUse(uint32_t index) const;
  // Of a predecessor's area: what no listener is left for.
  void FreeAllBut(const std::set<uint32_t>& keep);
  Region& At(uint32_t index);
  uint64_t NextKey();  // for listeners, containers, connections

 private:
  struct Header;
  Area() = default;
  static Result<Area> Map(UniqueFd memfd);
  struct Unmap {
    void operator()(Header* header) const;
  };
  UniqueFd memfd_;
  std::unique_ptr<Header, Unmap> header_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_NOTIFY_AREA_H_
