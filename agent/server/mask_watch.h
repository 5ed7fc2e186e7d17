// Sees to it that containers' masks stay: notices that one is gone, or that something else stands
// at its name, and has a helper put it back (mask_restore.h).
//
// A mask is mounted on an object. Against the container's own processes it holds; whoever replaces
// the object from outside takes the mask off or along. Two things tell:
//   mountinfo  of the container, which poll(2) reports when a mount goes (the object was removed or
//              replaced)
//   inotify    on the names on the way, because an object that is renamed takes its mask along, and
//              a swapped symlink leads past it, without any mount coming or going
// A name that is not there at the moment is waited for. What happened is in the audit log:
// mask_lost when it is noticed, mask_restored when it stands again, with the time in between.
//
// For the main loop's thread only. Its destructor is never run while the loop runs.
#ifndef LANDGATE_AGENT_SERVER_MASK_WATCH_H_
#define LANDGATE_AGENT_SERVER_MASK_WATCH_H_

#include <spdlog/logger.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/audit.h"
#include "agent/container.h"
#include "agent/helper/helper_pool.h"
#include "agent/helper/mask_restore.h"
#include "agent/server/loop.h"
#include "base/unique_fd.h"

namespace landgate::agent {

class MaskWatch {
 public:
  MaskWatch(Loop& loop, HelperPool& helpers, AuditSink& audit, spdlog::logger& log);
  MaskWatch(const MaskWatch&) = delete;
  MaskWatch& operator=(const MaskWatch&) = delete;
  ~MaskWatch();

  // One without masks is not watched. What was lost while nobody watched is noticed too.
  void Add(const ContainerPtr& container);
  void Remove(uint64_t container);

 private:
  using Clock = Loop::Clock;
  struct Watched;

  void Unwatch(const std::vector<WatchedEntry>& entries);
  void OnMountInfo(uint64_t key);
  void OnInotify();
  void ReadEvents();
  void Notice(uint64_t key);
  void Look(uint64_t key, Clock::duration delay);
  void Run(uint64_t key);
  void Done(uint64_t key, std::optional<MaskAnswer> answer, const std::string& problem);
  void Take(Watched& watched, MaskAnswer answer, Clock::time_point since);
  static void Retire(Watched& watched, const std::vector<std::string>& leads);
  void Tell(const Watched& watched, AuditEvent event, const sandbox::MountStep& step,
            std::string message, std::optional<Clock::duration> took) const;
  void Complain(Watched& watched, const std::string& problem);

  Loop& loop_;
  HelperPool& helpers_;
  AuditSink& audit_;
  spdlog::logger& log_;
  UniqueFd inotify_;  // one for all containers: a user may have few of them
  Loop::Token inotify_token_ = 0;
  std::map<uint64_t, std::unique_ptr<Watched>> watched_;
  // Who is to be told about a name of a watched directory.
  std::map<int, std::map<std::string, std::set<uint64_t>>> entries_;
};

}  // namespace landgate::agent

#endif  // LANDGATE_AGENT_SERVER_MASK_WATCH_H_
