// RUNDIR/containers/ID: what prestart leaves for the other programs about a container that it gave
// a floor. poststop takes it away.
//
//   plan           what /dev/lg.plan shows in the container (0444); not in audit mode
//   floor.json     the compiled floor (sandbox::FloorJson); not in audit mode
//   launcher.sock  in the pure prestart shape: where the launcher asks the agent for room
//   record.json    this file's Record, written last: without it the container has none
//
// The directory is 0700 and belongs to who runs the hooks. Not thread-safe among writers of one ID;
// runtimes run the hooks of a container one after the other.
#ifndef LANDGATE_HOOK_RECORD_H_
#define LANDGATE_HOOK_RECORD_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/capability_names.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "hook/front_end.h"
#include "oci-specs/annotations.h"
#include "policy/document.h"
#include "sandbox/plan.h"

namespace landgate::hook {

struct Record {
  std::string id;
  std::string bundle;
  pid_t pid = 0;            // the container's first process, as the hooks see it
  uint64_t start_time = 0;  // its, in clock ticks since boot: a pid may be somebody else's later
  std::vector<std::string> policies;
  oci::Mode mode = oci::Mode::kEnforce;
  policy::ExecSessions exec_sessions = policy::ExecSessions::kConfined;
  ListenerVariant listener = ListenerVariant::kNone;
  std::string exec_socket;   // of the listener that refuses exec sessions; empty: none
  std::string agent_socket;  // of the agent that was told of the container; empty: none
  std::optional<CapabilitySet> keep;
  sandbox::ObjectId launcher;  // behind /dev/lg; zero in audit mode
  sandbox::ObjectId plan;      // behind /dev/lg.plan; likewise
};

std::string EncodeRecord(const Record& record);
Result<Record> DecodeRecord(std::string_view json, std::string_view file);

// Makes RUNDIR and RUNDIR/NAME (0700) and refuses a directory that somebody else owns or can write.
Result<std::string> MakeRunDirectory(const std::string& run_dir, std::string_view name);

// What may lie in a container's directory.
inline constexpr const char* kRecordFiles[] = {"record.json", "floor.json", "plan",
                                               "launcher.sock"};
std::string ContainerDirectory(const std::string& run_dir, const std::string& id);
// Absent: the container has no record. An unreadable record is an error, never "none".
Result<std::optional<Record>> ReadRecord(const std::string& run_dir, const std::string& id);
// When the process started: field 22 of /proc/PID/stat. ENOENT: there is none, or it has ended and
// waits to be reaped.
Result<uint64_t> ProcessStartTime(pid_t pid);
// Does the container's first process still run? One that can't be looked at counts as running.
bool IsAlive(const Record& record);
// The first container but `except_id` whose record names `exec_socket` and that is alive. A record
// that can't be read is passed over: see the caller's lock.
std::optional<Record> FindByExecSocket(const std::string& run_dir, const std::string& exec_socket,
                                       const std::string& except_id);
// Removes the directory and what prestart puts there. What is gone already is no error.
// RemoveStale refuses where the container of that id is alive: it may belong to another engine, or
// another `--root`, and its exec sessions are confined by this record.
Status RemoveStale(const std::string& run_dir, const std::string& id);
Status RemoveContainer(const std::string& run_dir, const std::string& id);

}  // namespace landgate::hook

#endif  // LANDGATE_HOOK_RECORD_H_
