// linux.seccomp merging that never weakens the engine's profile. Pure; thread-safe on documents of
// one's own.
//
// How runtimes read a profile (runc 1.1, crun 1.8, libseccomp 2.5): an entry whose action is the
// default action is skipped; two rules for one call merge silently; an unconditional rule swallows
// conditional ones, and the last unconditional one wins; a name that libseccomp does not know is
// ignored; NOTIFY is refused on `write` and as defaultAction by runc. So our names are taken out of
// the engine's entries (an entry is split by name, never by argument), and every name of ours then
// stands in exactly one rule.
//
// Entries of ours are told from the engine's by their list of names: its first name stands at its
// end a second time (libseccomp takes the same rule twice without complaint). Engines that drop
// fields they do not know keep that, and no engine writes it.
#ifndef LANDGATE_OCI_SPECS_SECCOMP_PROFILE_H_
#define LANDGATE_OCI_SPECS_SECCOMP_PROFILE_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "oci-specs/json_text.h"

namespace landgate::oci {

// What the launcher needs from an engine's profile.
extern const std::vector<std::string> kLauncherSyscalls;

// System calls that no kernel of today implements or that nothing of today calls: a listener nobody
// serves answers them ENOSYS, as the kernel would, so a notify rule on one grants and takes
// nothing.
extern const std::vector<std::string> kObsoleteSyscalls;
// The one to use: it has a number on every architecture and has done nothing since Linux 3.1.
inline constexpr char kExecRefusalSyscall[] = "nfsservctl";

// What an agent is notified of where it turns exec sessions to the launcher: every way to execute,
// and the launcher's question about its session.
extern const std::vector<std::string> kExecNotifications;
// What it is notified of in audit mode. Nothing that runtimes need to hand the listener over (never
// write, sendmsg, futex and the like: they hang).
extern const std::vector<std::string> kAuditNotifications;
// listenerMetadata of both.
inline constexpr char kAgentMetadata[] = "landgate";

struct ProfileChange {
  // Of kLauncherSyscalls (and the launcher's question), those the profile had denied.
  std::vector<std::string> opened;
  int profile_errno = 1;  // defaultErrnoRet of an ERRNO or TRACE default, else EPERM
};

// Opens what the launcher needs, idempotently: the additions stand in one last entry of `syscalls`
// that names nothing else, and a profile that has this entry reports the same `opened`.
// A call that the profile allows or denies by its arguments, or notifies somebody else about, stays
// as it is: whether that does for the launcher shows when it runs, and it refuses then.
// `without_listener`: no notify rule will stand on the launcher's question (kExecRefusalSyscall),
// so where the profile would kill for it, it is opened, too.
Result<ProfileChange> OpenForLauncher(JsonText& document, JsonNode& seccomp,
                                      bool without_listener = false);

// Adds NOTIFY for `names`, conditionally allowed calls included. A call that the profile denies is
// left denied (what the engine's profile denies is never granted by a notification), and so is one
// that was opened for the launcher. Refused: a call that the profile denies by arguments, which no
// notify rule beside it would keep. What an entry of ours notifies already stays so.
Status AddNotify(JsonText& document, JsonNode& seccomp, const std::vector<std::string>& names);

// Notify rules that exist so that the runtime makes a listener at all, whatever the profile says of
// these calls. Only for names of kObsoleteSyscalls; others are refused.
Status AddObsoleteNotify(JsonText& document, JsonNode& seccomp,
                         const std::vector<std::string>& names);

// Takes back what AddNotify and AddObsoleteNotify did for every name but `keep`: a call that the
// engine had allowed is allowed again, an obsolete one is left to the default action.
void RemoveNotify(JsonText& document, JsonNode& seccomp, const std::vector<std::string>& keep);

// Whose NOTIFY entries the profile has.
struct NotifyEntries {
  bool ours = false;     // written by AddNotify or AddObsoleteNotify
  bool foreign = false;  // or a defaultAction of NOTIFY
};
NotifyEntries FindNotifyEntries(const JsonNode& seccomp);

// What every function here expects: objects, arrays and strings where the specification has them.
// The message names the place. The functions above call it where they can fail.
Status CheckProfile(const JsonText& document, const JsonNode& seccomp);

// A profile that allows everything, on this machine's architecture and those it also runs.
JsonNode AllowAllProfile(JsonText& document);

}  // namespace landgate::oci

#endif  // LANDGATE_OCI_SPECS_SECCOMP_PROFILE_H_
