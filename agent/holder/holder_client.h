// The holder: a process of its own that keeps descriptors for the serving process, so that none is
// closed when that one dies. It keeps what it is given under (kind, key) with a few opaque bytes,
// accepts connections on the sockets it keeps, and hands everything to the next serving process
// when the last one is dead (pidfd). It parses nothing of a container's; docs/holder.md has the
// grammar of its messages.
#ifndef LANDGATE_AGENT_HOLDER_HOLDER_CLIENT_H_
#define LANDGATE_AGENT_HOLDER_HOLDER_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace landgate::agent {

enum class Kept : uint32_t {
  kArea = 1,        // key 0; the memfd of area.h
  kSocket = 2,      // a listening socket; the holder accepts on it and keeps kConnection
  kConnection = 3,  // blob: key of the kSocket; kept until dropped, whatever happens to the server
  kContainer = 4,   // a memfd with the registration; blob: the container's id
  kProcess = 5,     // a container's pidfd; key of its kContainer
  kMountNamespace = 6,
  kListener = 7,  // blob: ListenerBlob
  kSession = 8,   // a memfd with an exec session's command line; key of its kListener
  kClone = 9,     // a detached mount of a container
  kPartial = 10,  // a message that is not complete yet (spool.h); key of its kConnection
};

struct KeptObject {
  Kept kind;
  uint64_t key = 0;
  std::string blob;  // at most kMaxBlobBytes
  UniqueFd fd;
};
inline constexpr size_t kMaxBlobBytes = 512;

// The serving process's end. Thread-safe.
class Holder {
 public:
  // Connects to the holder at `socket_path`; where none answers, starts one (`program` hold …) that
  // outlives this process. Impossible: another serving process is alive. On success `predecessor`
  // has everything that was kept, and `connection` is from then on called, on a thread of this
  // class, for every connection that the holder accepts.
  static Result<std::unique_ptr<Holder>> Connect(const std::string& socket_path,
                                                 const std::string& program,
                                                 std::vector<KeptObject>* predecessor,
                                                 std::function<void(KeptObject)> connection);
  virtual ~Holder() = default;
  // Returns when the holder has it. A holder that has died is started again and given everything
  // that it was given before.
  virtual Status Keep(Kept kind, uint64_t key, std::string_view blob, BorrowedFd fd) = 0;
  virtual void Drop(Kept kind, uint64_t key) = 0;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_HOLDER_HOLDER_CLIENT_H_
