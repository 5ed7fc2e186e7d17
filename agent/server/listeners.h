// Listeners, from their arrival (or from a predecessor) to their end: which container, which kind,
// which handler, where they are kept.
//
// Order of an arrival: a region, then the holder has the listener and acknowledges, then its
// threads start, then its connection may be dropped. A process that dies in between leaves a
// successor with the connection, with the listener, or with both (ListenerBlob::connection tells).
//
// For the main loop's thread only.
#ifndef LANDGATE_AGENT_SERVER_LISTENERS_H_
#define LANDGATE_AGENT_SERVER_LISTENERS_H_

#include <spdlog/logger.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "agent/handlers/handlers.h"
#include "agent/holder/holder_client.h"
#include "agent/notify/listener.h"
#include "agent/server/listener_blob.h"
#include "agent/server/loop.h"
#include "agent/server/message.h"
#include "agent/server/registry.h"
#include "base/result.h"

namespace landgate::agent {

class Listeners {
 public:
  Listeners(const Services& services, Registry& registry, Loop& loop, spdlog::logger& log)
      : services_(services), registry_(registry), loop_(loop), log_(log) {}

  // A new one, from a runtime. On error it is closed, and its calls answer ENOSYS from then on.
  Status Admit(ListenerMessage message, uint64_t connection);
  // A predecessor's. On error it is closed and dropped.
  Status Restore(KeptObject kept, UniqueFd session);
  // Of those that came in Restore: gives back the regions that no listener has.
  void FreeUnusedRegions();
  size_t foreign() const { return foreign_.size(); }

 private:
  Status Start(const ListenerBlob& blob, uint64_t key, UniqueFd fd, UniqueFd session);
  void Ended(uint64_t key, uint32_t region);
  void Forget(uint64_t key);
  ContainerPtr Nobody(const std::string& id) const;

  const Services services_;
  Registry& registry_;
  Loop& loop_;
  spdlog::logger& log_;
  std::map<uint64_t, std::shared_ptr<Listener>> foreign_;  // of containers that nobody registered
  std::map<uint32_t, uint64_t> regions_;                   // region → listener
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_LISTENERS_H_
