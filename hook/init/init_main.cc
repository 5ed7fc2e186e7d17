// The launcher: /dev/lg in every container under a policy. It confines itself by /dev/lg.plan and
// becomes the workload.
//
//   /dev/lg start ARGS…   the entrypoint: every object must be the one that was compiled
//   /dev/lg exec ARGS…    an exec session: objects may have been replaced or be gone meanwhile
//   any other arguments   an exec session that the agent turned to it; the agent has the command
//                         line (session.h)
//   ANYTHING ELSE         with a plan that says so: it was mounted over the entrypoint, which it
//                         becomes under the very name and arguments
//
// Exit status 1 or 3: refused or impossible here, no workload ran; 2: bad usage; 127 and 126: the
// workload is not there or can't be executed. It is trusted until its execve and by nobody after
// that: run again by the workload it can only take away more.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "hook/init/confine.h"
#include "hook/init/find_program.h"
#include "hook/init/over_mounted.h"
#include "hook/init/session.h"
#include "sandbox/filter_load.h"

namespace landgate::init {
namespace {

constexpr std::string_view kUsage =
    "usage: landgate-init start|exec PROGRAM [ARGUMENT…]\n"
    "Applies the plan in /dev/lg.plan to itself and executes PROGRAM. Started by the container\n"
    "runtime; landgate-hook and landgate-runtime put it in front of a container's arguments.\n";

// One write, so that lines of several processes don't mix.
void Say(const std::string& message) {
  (void)WriteAll(BorrowedFd(STDERR_FILENO),
                 "landgate: " + message + "\n");  // nowhere else to say it
}

int Print(std::string_view text) { return WriteAll(BorrowedFd(STDOUT_FILENO), text) ? 0 : 1; }

int Fail(const Error& error) {
  Say(error.message);
  return static_cast<int>(error.status);
}

// What the launcher becomes.
struct Workload {
  sandbox::Session session = sandbox::Session::kStart;
  char** arguments = nullptr;
  char** environment = nullptr;
  const char* path = nullptr;  // this very file; null: arguments[0], as the runtime would find it
};

// Where the launcher stands in for the entrypoint, the agent makes room first.
Status ConfineWithAgent(const sandbox::Plan& plan, sandbox::Session session,
                        std::vector<std::string>* skipped) {
  std::optional<AgentConnection> agent;
  if (plan.over_mounted) {
    Result<AgentConnection> opened = AgentConnection::Open();
    if (!opened) return Forward(opened);
    agent = std::move(*opened);
  }
  if (Status confined = Confine(plan, session, skipped); !confined) return confined;
  if (plan.notify.empty()) return {};
  if (!agent) return Refuse("the plan asks for a listener and names nobody to give it to");
  Result<UniqueFd> listener = sandbox::LoadNotifyFilter(plan.notify);
  if (!listener) return Context("listener", listener);
  return agent->SendListener(std::move(*listener));
}

// Returns only when it failed.
int Launch(const Result<sandbox::Plan>& plan, const Workload& workload) {
  if (!plan) return Fail(plan.error());
  std::vector<std::string> skipped;
  if (const Status confined = ConfineWithAgent(*plan, workload.session, &skipped); !confined) {
    return Fail(confined.error());
  }
  if (workload.session == sandbox::Session::kStart) {
    for (const std::string& path : skipped) {
      Say(path + ": out of the reach of uid " + std::to_string(geteuid()) +
          "; its rule grants nothing");
    }
  }
  Program program;
  if (workload.path) {
    program.path = workload.path;
  } else {
    program = FindProgram(workload.arguments[0], getenv("PATH"));
  }
  const std::string name = workload.path ? workload.path : workload.arguments[0];
  if (program.exit_status != 0) {
    Say("exec \"" + name + "\": " + program.why);
    return program.exit_status;
  }
  if (const Status closed = CloseSyscalls(*plan); !closed) return Fail(closed.error());
  (void)execve(program.path.c_str(), workload.arguments, workload.environment);
  const int error = errno;
  std::string why = Reason(error);
  // access(2) has just said yes, and unlike execve it knows nothing of Landlock.
  if (error == EACCES && !plan->layers.empty()) {
    why += "; the policy must grant read and execute on " + program.path +
           " and on the interpreter or loader that it names";
  }
  Say("exec \"" + name + "\": " + why);
  return ExitStatusOfExec(error);
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int LaunchSession(sandbox::CommandLine command) {
  std::vector<char*> arguments = Pointers(command.arguments);
  std::vector<char*> environment = Pointers(command.environment);
  return Launch(ReadPlan(), {sandbox::Session::kExec, arguments.data(), environment.data(),
                             command.path.c_str()});
}

int Main(int argc, char** argv) {
  // First of all: in a session the arguments are the program's, whatever they look like.
  Result<std::optional<sandbox::CommandLine>> session = AskForSession();
  if (!session) return Fail(session.error());
  if (*session) return LaunchSession(std::move(**session));
  // As is everything where the launcher stands in for the entrypoint.
  const Result<sandbox::Plan> plan = ReadPlan();
  if (plan && plan->over_mounted) {
    return Launch(plan, {sandbox::Session::kStart, argv, environ, ExecutedPath()});
  }
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "--version") return Print("landgate-init " LANDGATE_VERSION "\n");
  if (command == "--help") return Print(kUsage);
  if (argc > 2 && command == "start") {
    return Launch(plan, {sandbox::Session::kStart, argv + 2, environ});
  }
  if (argc > 2 && command == "exec") {
    return Launch(plan, {sandbox::Session::kExec, argv + 2, environ});
  }
  (void)WriteAll(BorrowedFd(STDERR_FILENO), kUsage);  // the exit status says it too
  return static_cast<int>(ExitStatus::kUsage);
}

}  // namespace
}  // namespace landgate::init

// libstdc++'s own handler brings the demangler and stdio, a fifth of the program, to print the type
// of an exception that nobody catches; the only one here can be bad_alloc.
void __gnu_cxx::__verbose_terminate_handler() { abort(); }

// No exit handlers: they would run under the filter.
int main(int argc, char** argv) { _exit(landgate::init::Main(argc, argv)); }
