#include "agent/notify/area.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <utility>

namespace landgate::agent {

static_assert(std::atomic<uint32_t>::is_always_lock_free &&
                  std::atomic<uint64_t>::is_always_lock_free,
              "atomics in shared memory must be the processor's own");
static_assert(sizeof(Slot) == kNotificationBytes);

struct Area::Header {
  uint64_t magic;
  uint32_t version;
  uint32_t listeners;
  uint64_t region_bytes;
  uint64_t slots;
  uint64_t once_records;
  std::atomic<uint64_t> last_key;
  alignas(kRegionAlignment) Region regions[kMaxListeners];
};

namespace {

// Every seal but F_SEAL_WRITE, which would forbid the mapping itself. A holder of the descriptor
// can't make the pages disappear under us (SIGBUS).
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

void Area::Unmap::operator()(Header* header) const { (void)munmap(header, sizeof(Header)); }

Result<Area> Area::Map(UniqueFd memfd) {
  void* const at = mmap(nullptr, sizeof(Header), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                        memfd.get(), 0);
  if (at == MAP_FAILED) return SystemError("mapping the agent's shared area", errno);
  // A core dump is not the place for thousands of empty regions.
  (void)madvise(at, sizeof(Header), MADV_DONTDUMP);
  Area area;
  area.header_.reset(static_cast<Header*>(at));
  area.memfd_ = std::move(memfd);
  return area;
}

Result<Area> Area::Create() {
  UniqueFd memfd(memfd_create("landgate-area", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd.valid()) return SystemError("memfd_create landgate-area", errno);
  if (ftruncate(memfd.get(), sizeof(Header)) < 0)
    return SystemError("sizing the agent's shared area", errno);
  if (fcntl(memfd.get(), F_ADD_SEALS, kSeals) < 0)
    return SystemError("sealing the agent's shared area", errno);
  Result<Area> area = Map(std::move(memfd));
  if (!area) return area;
  Header& header = *area->header_;
  header.version = kAreaVersion;
  header.listeners = kMaxListeners;
  header.region_bytes = sizeof(Region);
  header.slots = kSlotsPerListener;
  header.once_records = kOnceRecords;
  header.magic = kAreaMagic;
  return area;
}

Result<Area> Area::Open(UniqueFd memfd) {
  struct stat status {};
  if (fstat(memfd.get(), &status) < 0)
    return SystemError("looking at the predecessor's shared area", errno);
  // The size first: a page beyond the end of the file is SIGBUS. The seals keep it.
  const int seals = fcntl(memfd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || status.st_size != off_t{sizeof(Header)})
    return Refuse(
        "the predecessor's shared area is not one of this agent's: wrong size or not sealed");
  Result<Area> area = Map(std::move(memfd));
  if (!area) return area;
  const Header& header = *area->header_;
  if (header.magic != kAreaMagic || header.version != kAreaVersion ||
      header.listeners != kMaxListeners || header.region_bytes != sizeof(Region) ||
      header.slots != kSlotsPerListener || header.once_records != kOnceRecords) {
    return Refuse("the predecessor's shared area has version " + std::to_string(header.version) +
                  ", this agent reads version " + std::to_string(kAreaVersion) +
                  ": start the agent that made it, or restart the containers");
  }
  return area;
}

std::optional<uint32_t> Area::Allocate(uint64_t listener) {
  for (uint32_t i = 0; i < kMaxListeners; ++i) {
    Region& region = header_->regions[i];
    if (region.used.load(std::memory_order_relaxed) != 0) continue;
    // A predecessor may have died while it was making the region ready.
    if (madvise(&region, sizeof region, MADV_REMOVE) < 0) return std::nullopt;
    region.listener.store(listener, std::memory_order_relaxed);
    region.used.store(1, std::memory_order_release);
    return i;
  }
  return std::nullopt;
}

void Area::Free(uint32_t index) {
  if (!InUse(index)) return;
  Region& region = header_->regions[index];
  // Punches a hole, which reads as zeros; `used` among them.
  if (madvise(&region, sizeof region, MADV_REMOVE) < 0)
    region.used.store(0, std::memory_order_release);  // Allocate tries again before it is used
}

bool Area::InUse(uint32_t index) const {
  return index < kMaxListeners && header_->regions[index].used.load(std::memory_order_acquire) != 0;
}

void Area::FreeAllBut(const std::set<uint32_t>& keep) {
  const auto first = static_cast<off_t>(offsetof(Header, regions));
  off_t at = first;
  // Hole by hole: to look at a page would take it from the system.
  while ((at = lseek(memfd_.get(), at, SEEK_DATA)) >= 0) {
    const auto index = static_cast<uint32_t>((at - first) / static_cast<off_t>(sizeof(Region)));
    if (!keep.contains(index)) Free(index);
    at = first + static_cast<off_t>(index + 1) * static_cast<off_t>(sizeof(Region));
  }
}

Region& Area::At(uint32_t index) { return header_->regions[index]; }

uint64_t Area::NextKey() { return header_->last_key.fetch_add(1, std::memory_order_relaxed) + 1; }

}  // namespace landgate::agent
