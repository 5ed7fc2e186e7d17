// `landgatectl ps` and `landgatectl inspect`: what the agent says about containers, for people.
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "agent/ctl/ctl_agent_client.h"
#include "agent/ctl/ctl_command.h"
#include "agent/ctl/ctl_output.h"
#include "base/printable.h"

namespace landgate::ctl {
namespace {

constexpr size_t kShortId = 12;

struct Options {
  std::optional<std::string> socket;
  std::string id;
  bool json = false;
};

// The agent and this tool may be of different versions: what is missing or of another type reads
// as empty.
std::string Text(const Json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) return "";
  const Json& value = object[key];
  if (value.is_string()) return value.get<std::string>();
  return value.is_number() ? value.dump() : "";
}
const Json& List(const Json& object, const char* key) {
  static const Json empty = Json::array();
  return object.is_object() && object.contains(key) && object[key].is_array() ? object[key] : empty;
}

// --- ps -----------------------------------------------------------------------------------------

// As short as it may be to be told from the others, and never shorter than what engines show.
size_t IdLength(const Json& containers) {
  size_t length = kShortId;
  for (const Json& one : containers) {
    for (const Json& other : containers) {
      const std::string a = Text(one, "id");
      const std::string b = Text(other, "id");
      if (a == b) continue;
      const auto differ = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
      length = std::max(length, static_cast<size_t>(differ - a.begin()) + 1);
    }
  }
  return length;
}

struct Cell {
  std::string text;
  Colour colour = Colour::kNone;
};
using Row = std::vector<Cell>;

void PrintTable(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].text.size());
  }
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += Coloured(STDOUT_FILENO, row[i].colour, row[i].text);
      if (i + 1 < row.size()) line.append(widths[i] - row[i].text.size() + 2, ' ');
    }
    Print(line + "\n");
  }
}

std::string NameOf(const Json& container) {
  const std::string pod = Text(container, "pod");
  const std::string name = Text(container, "name");
  if (pod.empty() || name.empty()) return pod.empty() ? name : pod;
  return pod + "/" + name;
}

Row RowOf(const Json& container, size_t id_length) {
  const std::string mode = Text(container, "mode");
  const std::string floor = Text(container, "floor");
  const std::string name = NameOf(container);
  const bool watched = mode != "enforce";
  return {
      {Printable(Text(container, "id").substr(0, id_length))},
      {name.empty() ? "-" : Printable(name)},
      {Printable(Text(container, "policy"))},
      {watched ? mode + " (nothing enforced)" : mode, watched ? Colour::kYellow : Colour::kNone},
      {floor, floor == "full" ? Colour::kGreen : Colour::kYellow},
      {Text(container, "listeners")},
      {Text(container, "denied")},
      {Text(container, "asked")}};
}

int Ps(const AgentPlace& agent, const Options& options) {
  Result<Json> answer = AskAgent(agent, "/v1/containers");
  if (!answer) return PrintError(answer.error());
  if (options.json) {
    PrintJson(*answer);
    return 0;
  }
  const Json& containers = List(*answer, "containers");
  std::vector<Row> rows = {
      {{"ID"}, {"NAME"}, {"POLICY"}, {"MODE"}, {"FLOOR"}, {"LISTENERS"}, {"DENIED"}, {"ASKED"}}};
  const size_t id_length = IdLength(containers);
  for (const Json& container : containers) rows.push_back(RowOf(container, id_length));
  PrintTable(rows);
  return 0;
}

// --- inspect ------------------------------------------------------------------------------------

// The container whose id this is, or begins so.
Result<std::string> FullId(const AgentPlace& agent, const std::string& given) {
  Result<Json> answer = AskAgent(agent, "/v1/containers");
  if (!answer) return Forward(answer);
  std::vector<std::string> matches;
  for (const Json& container : List(*answer, "containers")) {
    std::string id = Text(container, "id");
    if (id == given) return id;
    if (id.starts_with(given)) matches.push_back(std::move(id));
  }
  if (matches.size() == 1) return matches[0];
  if (matches.empty()) {
    return Refuse(given + ": the agent serves no such container; landgatectl ps lists them");
  }
  return Refuse(given + ": begins the ids of " + std::to_string(matches.size()) +
                " containers; give more of it");
}

void PrintField(const char* title, const std::string& value) {
  if (value.empty()) return;
  std::string line = title;
  line.append(line.size() < 15 ? 15 - line.size() : 1, ' ');
  Print(line + Printable(value) + "\n");
}

void PrintMode(const std::string& mode) {
  if (mode != "audit") {
    PrintField("Mode", mode);
    return;
  }
  Print(Coloured(STDOUT_FILENO, Colour::kYellow,
                 "NOTHING IS ENFORCED: this container runs in audit mode. What its policies would "
                 "deny is\nallowed, and written to the audit log with verdict \"audit\".") +
        "\n");
  PrintField("Mode", "audit");
}

void PrintFloor(const Json& container) {
  PrintField("Floor", Text(container, "floor"));
  for (const Json& lost : List(container, "degraded")) {
    Print("  " + Coloured(STDOUT_FILENO, Colour::kYellow, "not held") + ": " +
          Printable(Text(lost, "right") + " of " + Text(lost, "policy") + " (needs ABI " +
                    Text(lost, "neededAbi") + ", found " + Text(lost, "foundAbi") + ")") +
          "\n");
  }
}

void PrintListeners(const Json& container) {
  std::string text = Text(container, "listeners");
  std::string separator = ": ";
  for (const Json& listener : List(container, "listenerList")) {
    const bool main = Text(listener, "kind") == "container";
    text +=
        separator + (main ? "container" : "exec session") + " (" + Text(listener, "phase") + ")";
    separator = ", ";
  }
  PrintField("Listeners", text);
}

void PrintEnforcement(const Json& enforcement) {
  if (!List(enforcement, "mounts").empty()) Print("Masks and pins\n");
  for (const Json& mount : List(enforcement, "mounts")) {
    std::string line = "  " + Text(mount, "kind") + "  " + Printable(Text(mount, "path"));
    if (!Text(mount, "flags").empty()) line += "  " + Text(mount, "flags");
    Print(line + "  " + Printable(Text(mount, "rule")) + "\n");
  }
  for (const Json& warning : List(enforcement, "warnings")) {
    if (!warning.is_string()) continue;
    Print(Coloured(STDOUT_FILENO, Colour::kYellow, "warning") + ": " +
          Printable(warning.get<std::string>()) + "\n");
  }
}

void PrintContainer(const Json& container, const Json& policies) {
  PrintField("Container", Text(container, "id"));
  PrintMode(Text(container, "mode"));
  PrintField("Name", NameOf(container));
  PrintField("Namespace", Text(container, "podNamespace"));
  for (const Json& policy : List(policies, "policies")) {
    const std::string file = Text(policy, "file");
    PrintField("Policy", Text(policy, "name") + (file.empty() ? "" : " (" + file + ")"));
  }
  PrintFloor(container);
  PrintField("Exec sessions", Text(container, "execSessions"));
  PrintListeners(container);
  PrintField("Denied", Text(container, "denied"));
  PrintField("Asked", Text(container, "asked"));
  const std::string started = Text(container, "started");
  PrintField("Process", Text(container, "pid") + (started.empty() ? "" : " since " + started));
  PrintField("Bundle", Text(container, "bundle"));
  PrintField("Root", Text(container, "root"));
  PrintField("Front end", Text(container, "frontEnd"));
  if (container.contains("enforcement")) PrintEnforcement(container["enforcement"]);
}

int Inspect(const AgentPlace& agent, const Options& options) {
  Result<std::string> id = FullId(agent, options.id);
  if (!id) return PrintError(id.error());
  const std::string target = "/v1/containers/" + PercentEncoded(*id);
  Result<Json> container = AskAgent(agent, target);
  if (!container) return PrintError(container.error());
  Result<Json> policies = AskAgent(agent, target + "/policy");
  if (!policies) return PrintError(policies.error());
  if (options.json) {
    (*container)["policyDocuments"] = List(*policies, "policies");
    PrintJson(*container);
  } else {
    PrintContainer(*container, *policies);
  }
  return 0;
}

using Command = int (*)(const AgentPlace&, const Options&);

void Add(Invocation& invocation, CLI::App* command, const std::shared_ptr<Options>& options,
         Command run) {
  command->add_flag("--json", options->json, "Print JSON");
  command->add_option("--socket", options->socket, "The agent's control socket")->type_name("PATH");
  command->callback([&invocation, options, run] {
    invocation.run = [&invocation, options, run] {
      Result<AgentPlace> agent = FindAgent(options->socket, [&] { return invocation.Config(); });
      return agent ? run(*agent, *options) : PrintError(agent.error());
    };
  });
}

}  // namespace

void AddContainerCommands(CLI::App& app, Invocation& invocation) {
  auto listed = std::make_shared<Options>();
  CLI::App* list = app.add_subcommand("ps", "List the containers that the agent serves");
  list->footer("Exit status: 0 done, 3 no agent answers.");
  Add(invocation, list, listed, Ps);
  auto inspected = std::make_shared<Options>();
  CLI::App* inspect =
      app.add_subcommand("inspect", "Show one container: its policies, and what holds of them");
  inspect->add_option("id", inspected->id, "The container's id, or an unambiguous beginning of it")
      ->required()
      ->type_name("ID");
  inspect->footer(
      "Exit status: 0 done, 1 no such container, 3 no agent answers.\n"
      "Example: landgatectl inspect 3f2a");
  Add(invocation, inspect, inspected, Inspect);
}

}  // namespace landgate::ctl
