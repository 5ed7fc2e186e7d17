// `landgatectl events`: the audit log as it lies on disk, or with --follow what happens from now
// on, as the agent tells it.
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "agent/ctl/ctl_agent_client.h"
#include "agent/ctl/ctl_command.h"
#include "agent/ctl/ctl_event_line.h"
#include "agent/ctl/ctl_output.h"

namespace landgate::ctl {
namespace {

struct Options {
  std::optional<std::string> socket;
  EventChoice choice;
  bool follow = false, json = false;
};

void PrintRecord(const Json& record, const std::string& as_it_came, const Options& options) {
  if (!options.choice.Wants(record)) return;
  Print((options.json ? as_it_came : EventLine(record)) + "\n");
}

// --- the log ------------------------------------------------------------------------------------

struct CloseFile {
  void operator()(FILE* file) const { (void)fclose(file); }  // read only
};
using File = std::unique_ptr<FILE, CloseFile>;

// The newest first, so that a rotation meanwhile shows a file twice rather than not at all, and
// twice is seen.
Result<std::vector<File>> OpenLog(const node::AuditLog& log) {
  std::vector<File> files;
  std::vector<std::pair<dev_t, ino_t>> seen;
  for (int generation = 0; generation <= log.keep; ++generation) {
    const std::string path = log.file + (generation == 0 ? "" : "." + std::to_string(generation));
    File file(fopen(path.c_str(), "re"));
    if (!file && errno == ENOENT) continue;
    if (!file) return SystemError(path, errno);
    struct stat st;
    if (fstat(fileno(file.get()), &st) < 0) return SystemError(path, errno);
    const std::pair<dev_t, ino_t> identity{st.st_dev, st.st_ino};
    if (std::find(seen.begin(), seen.end(), identity) != seen.end()) continue;
    seen.push_back(identity);
    files.push_back(std::move(file));
  }
  if (files.empty()) {
    return Impossible(log.file +
                      ": no audit log; it is made when landgate-agent starts for the first time");
  }
  return files;
}

// The number of lines that are no records.
size_t PrintFile(FILE* file, const Options& options) {
  size_t unreadable = 0;
  char* line = nullptr;
  size_t space = 0;
  ssize_t length = 0;
  while ((length = getline(&line, &space, file)) > 0) {
    std::string text(line, static_cast<size_t>(length));
    if (text.back() == '\n') text.pop_back();
    Result<Json> record = policy::ParseJson(text, "record", policy::Comments::kRefused);
    if (record) {
      PrintRecord(*record, text, options);
    } else {
      ++unreadable;
    }
  }
  free(line);
  return unreadable;
}

int PrintLog(const Options& options, const node::Config& config) {
  Result<std::vector<File>> files = OpenLog(config.audit);
  if (!files) {
    Error error = std::move(files).error();
    if (error.error_number == EACCES) {
      error.message += "; the log is its owner's; landgatectl events --follow asks the agent";
    }
    return PrintError(error);
  }
  size_t unreadable = 0;
  for (auto file = files->rbegin(); file != files->rend(); ++file) {
    unreadable += PrintFile(file->get(), options);
  }
  if (unreadable > 0) {
    const char* rest = unreadable == 1 ? " line is no audit record" : " lines are no audit records";
    return PrintError(
        Refuse(config.audit.file + ": " + std::to_string(unreadable) + rest + "; left out")
            .value());
  }
  return 0;
}

// --- the agent ----------------------------------------------------------------------------------

bool PrintEvent(const EventStream::Event& event, const Options& options) {
  Result<Json> record = policy::ParseJson(event.data, "event", policy::Comments::kRefused);
  if (!record) return true;
  if (event.type == "message") {
    PrintRecord(*record, event.data, options);
  } else if (event.type == "lost" && record->contains("lost")) {
    const std::string count = (*record)["lost"].dump();
    Print(options.json ? R"({"event":"lost","count":)" + count + "}\n"
                       : "(" + count +
                             " records were lost here: they came faster than they were "
                             "read; the audit log has them)\n");
  }
  // Somebody watches: each record at once. Where nobody reads any more this is the end.
  return fflush(stdout) == 0;
}

int Follow(const Options& options, const AgentPlace& agent) {
  EventStream stream;
  const auto take = [&](std::string_view bytes) {
    stream.Feed(bytes);
    EventStream::Event event;
    bool go_on = true;
    while (go_on && stream.Next(event)) go_on = PrintEvent(event, options);
    return go_on;
  };
  const Status done =
      FollowAgent(agent, options.choice.denied ? "/v1/events?denied=1" : "/v1/events", take);
  return done ? 0 : PrintError(done.error());
}

int Run(const Options& options, const Invocation& invocation) {
  if (!options.follow) {
    Result<node::Config> config = invocation.Config();
    return config ? PrintLog(options, *config) : PrintError(config.error());
  }
  Result<AgentPlace> agent = FindAgent(options.socket, [&] { return invocation.Config(); });
  return agent ? Follow(options, *agent) : PrintError(agent.error());
}

}  // namespace

void AddEventsCommand(CLI::App& app, Invocation& invocation) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "events", "Show what was decided about system calls: the audit log, or what happens now");
  CLI::Option* follow =
      command->add_flag("--follow,-f", options->follow, "Show what happens from now on");
  command->add_flag("--denied", options->choice.denied,
                    "Only what was denied, or in audit mode would have been");
  command->add_option("--container", options->choice.container, "Only of this container")
      ->type_name("ID");
  command->add_flag("--json", options->json, "Print the records as they are, one a line");
  command->add_option("--socket", options->socket, "The agent's control socket")
      ->type_name("PATH")
      ->needs(follow);
  command->footer(
      "Without --follow: the audit log on disk. What the kernel denies by itself is not in it.\n"
      "Exit status: 0 done, 1 the log can't be read, 3 with --follow: no agent answers any more.\n"
      "Examples:\n"
      "  landgatectl events --denied\n"
      "  landgatectl events --follow --container 3f2a");
  command->callback([&invocation, options] {
    invocation.run = [&invocation, options] { return Run(*options, invocation); };
  });
}

}  // namespace landgate::ctl
