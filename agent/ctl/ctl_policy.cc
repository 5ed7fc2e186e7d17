// `landgatectl policy …`: the command line and its output. What is decided is decided elsewhere.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/ctl/ctl_command.h"
#include "agent/ctl/ctl_explain.h"
#include "agent/ctl/ctl_output.h"
#include "agent/ctl/ctl_policy_list.h"
#include "agent/ctl/ctl_validate.h"
#include "base/capability_names.h"
#include "base/printable.h"
#include "base/syscalls.h"
#include "base/unique_fd.h"
#include "node/policies.h"
#include "policy/document_encode.h"
#include "sandbox/compile.h"

namespace landgate::ctl {
namespace {

constexpr int kDone = static_cast<int>(ExitStatus::kDone);
constexpr int kRefused = static_cast<int>(ExitStatus::kRefused);

// A policy of the node where the text is a bare name, else a file.
bool IsName(const std::string& text) {
  return text.find('/') == std::string::npos && !text.ends_with(".json");
}

Result<policy::Policy> LoadFileOrName(const node::Config& config, const std::string& text) {
  return IsName(text) ? node::LoadPolicy(config, text) : node::LoadPolicyFile(config, text);
}

// --- validate ---------------------------------------------------------------------------------

struct ValidateOptions {
  std::vector<std::string> files;
  bool json = false, strict = false;
};

const char* SeverityName(policy::Severity severity) {
  return severity == policy::Severity::kRefusal ? "refusal" : "warning";
}

void PrintFindings(const Validated& validated, bool usable) {
  for (const policy::Finding& finding : validated.findings) {
    const bool refusal = finding.severity == policy::Severity::kRefusal;
    std::string line = Printable(finding.origin.file) + ": ";
    if (!finding.origin.pointer.empty()) line += Printable(finding.origin.pointer) + ": ";
    line += Coloured(STDOUT_FILENO, refusal ? Colour::kRed : Colour::kYellow,
                     refusal ? "refused" : "warning");
    Print(line + ": " + Printable(finding.message) + "\n");
  }
  const auto count = [](size_t number, const char* one, const char* many) {
    return std::to_string(number) + " " + (number == 1 ? one : many);
  };
  Print(Printable(validated.file) + ": " +
        Coloured(STDOUT_FILENO, usable ? Colour::kGreen : Colour::kRed,
                 usable ? "usable" : "not usable") +
        ", " + count(validated.refusals(), "refusal", "refusals") + ", " +
        count(validated.warnings(), "warning", "warnings") + "\n");
}

Json ValidatedJson(const Validated& validated, bool usable) {
  Json findings = Json::array();
  for (const policy::Finding& finding : validated.findings) {
    findings.push_back({{"severity", SeverityName(finding.severity)},
                        {"file", finding.origin.file},
                        {"pointer", finding.origin.pointer},
                        {"message", finding.message}});
  }
  return {{"file", validated.file}, {"usable", usable}, {"findings", std::move(findings)}};
}

// A bare name is a policy of the node, unless such a file lies here.
std::string FileOf(const node::Config& config, const std::string& text) {
  if (text == "-" || !node::IsPolicyName(text) || access(text.c_str(), F_OK) == 0) return text;
  for (const std::string& directory : config.policy_dirs) {
    std::string candidate = directory + "/" + text + ".json";
    if (access(candidate.c_str(), F_OK) == 0) return candidate;
  }
  return text;
}

int Validate(const Invocation& invocation, const ValidateOptions& options) {
  Result<node::Config> config = invocation.Config();
  if (!config) return PrintError(config.error());
  bool all_usable = true;
  Json documents = Json::array();
  for (const std::string& file : options.files) {
    const Validated validated = ValidateFile(*config, FileOf(*config, file));
    const bool usable = validated.refusals() == 0 && !(options.strict && validated.warnings() > 0);
    all_usable = all_usable && usable;
    if (options.json) {
      documents.push_back(ValidatedJson(validated, usable));
    } else {
      PrintFindings(validated, usable);
    }
  }
  if (options.json) PrintJson({{"usable", all_usable}, {"documents", std::move(documents)}});
  return all_usable ? kDone : kRefused;
}

// --- explain ------------------------------------------------------------------------------------

struct ExplainOptions {
  std::string file;
  Question question;
  bool json = false;
};

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string RuleText(const Explained& explained) {
  if (explained.decision.rule.empty()) return "none";
  if (explained.rule_file.empty()) return explained.decision.rule;
  return explained.rule_file + ": " + explained.decision.rule;
}

void PrintExplained(const Explained& explained) {
  const policy::Decision& decision = explained.decision;
  const bool allowed = decision.verdict == policy::Verdict::kAllow;
  std::string text = Coloured(STDOUT_FILENO, allowed ? Colour::kGreen : Colour::kRed,
                              policy::VerdictName(decision.verdict));
  text += ": " + Printable(explained.subject);
  if (!explained.asked.empty()) text += " (" + Joined(explained.asked) + ")";
  text += "\n";
  if (!explained.resolved.empty()) text += "  leads to: " + Printable(explained.resolved) + "\n";
  text += "  rule:     " + Printable(RuleText(explained)) + "\n";
  text += "  reason:   " + std::string(policy::ReasonName(decision.reason)) + "\n";
  if (!allowed) text += "  errno:    " + ErrnoText(decision.error_number) + "\n";
  if (!explained.note.empty()) text += "  note:     " + explained.note + "\n";
  Print(text);
}

Json ExplainedJson(const std::string& policy_name, const Explained& explained) {
  const policy::Decision& decision = explained.decision;
  const bool allowed = decision.verdict == policy::Verdict::kAllow;
  Json value = Json::object();
  value["policy"] = policy_name;
  value["subject"] = explained.subject;
  if (!explained.asked.empty()) value["rights"] = explained.asked;
  if (!explained.resolved.empty()) value["resolved"] = explained.resolved;
  value["verdict"] = policy::VerdictName(decision.verdict);
  value["errno"] = allowed ? Json(nullptr) : Json(ErrnoName(decision.error_number));
  value["errnoNumber"] = allowed ? 0 : decision.error_number;
  value["reason"] = policy::ReasonName(decision.reason);
  value["rule"] = explained.decision.rule.empty() ? Json(nullptr) : Json(explained.decision.rule);
  value["file"] = explained.rule_file.empty() ? Json(nullptr) : Json(explained.rule_file);
  if (!explained.note.empty()) value["note"] = explained.note;
  return value;
}

int ExplainCommand(const Invocation& invocation, const ExplainOptions& options) {
  Result<node::Config> config = invocation.Config();
  if (!config) return PrintError(config.error());
  Result<policy::Policy> policy = LoadFileOrName(*config, options.file);
  if (!policy) return PrintError(policy.error());
  Result<Explained> explained = Explain(*policy, options.question);
  if (!explained) return PrintError(explained.error());
  if (options.json) {
    PrintJson(ExplainedJson(policy->name, *explained));
  } else {
    PrintExplained(*explained);
  }
  return explained->decision.verdict == policy::Verdict::kAllow ? kDone : kRefused;
}

// --- compile ------------------------------------------------------------------------------------

struct CompileOptions {
  std::vector<std::string> files;
  std::string root;
  int abi = 0;
  bool abi_given = false, host_network = false, host_pid = false, json = false;
};

// What goes into config.json before the container has any mount.
std::string StaticText(const sandbox::StaticFloor& floor) {
  std::string text;
  for (const std::string& path : floor.masked_paths)
    text += "  linux.maskedPaths    " + Printable(path) + "\n";
  for (const std::string& path : floor.readonly_paths)
    text += "  linux.readonlyPaths  " + Printable(path) + "\n";
  return text.empty() ? "" : "config.json:\n" + text;
}

Json StaticJson(const sandbox::StaticFloor& floor) {
  Json value = {{"maskedPaths", floor.masked_paths}, {"readonlyPaths", floor.readonly_paths}};
  value["keep"] = floor.keep ? Json(CapabilityNames(*floor.keep)) : Json(nullptr);
  return value;
}

int CompileCommand(const Invocation& invocation, const CompileOptions& options) {
  Result<node::Config> config = invocation.Config();
  if (!config) return PrintError(config.error());
  sandbox::CompileInput input;
  for (const std::string& file : options.files) {
    Result<policy::Policy> policy = LoadFileOrName(*config, file);
    if (!policy) return PrintError(policy.error());
    input.policies.push_back(std::move(*policy));
  }
  Result<sandbox::StaticFloor> fixed = sandbox::CompileStatic(input.policies);
  if (!fixed) return PrintError(fixed.error());
  input.landlock_abi = options.abi_given ? options.abi : LandlockAbi();
  input.own_network_namespace = !options.host_network;
  input.own_pid_namespace = !options.host_pid;
  // Nothing is mounted here, and runtimes mount a container's root private.
  input.refuse_shared_mounts = false;
  const UniqueFd root(open(options.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return PrintError(SystemError("root " + options.root, errno).value());
  Result<sandbox::Floor> floor = sandbox::Compile(input, root);
  if (!floor) return PrintError(floor.error());
  if (!options.json) {
    Print(StaticText(*fixed) + sandbox::FloorText(*floor));
    return kDone;
  }
  Json names = Json::array();
  for (const policy::Policy& policy : input.policies) names.push_back(policy.name);
  Result<Json> parsed =
      policy::ParseJson(sandbox::FloorJson(*floor), "floor", policy::Comments::kRefused);
  if (!parsed) return PrintError(parsed.error());
  PrintJson({{"policies", std::move(names)},
             {"landlockAbi", input.landlock_abi},
             {"config", StaticJson(*fixed)},
             {"floor", std::move(*parsed)}});
  return kDone;
}

// --- list and show ------------------------------------------------------------------------------

int ListCommand(const Invocation& invocation, bool json) {
  Result<node::Config> config = invocation.Config();
  if (!config) return PrintError(config.error());
  const std::vector<ListedPolicy> listed = ListPolicies(*config);
  bool all_usable = true;
  size_t width = 0;
  for (const ListedPolicy& entry : listed) {
    all_usable = all_usable && entry.problem.empty();
    width = std::max(width, entry.name.size());
  }
  if (json) {
    Json policies = Json::array();
    for (const ListedPolicy& entry : listed) {
      Json value = {{"name", entry.name},
                    {"file", entry.file},
                    {"description", entry.description},
                    {"usable", entry.problem.empty()}};
      if (!entry.problem.empty()) value["problem"] = entry.problem;
      policies.push_back(std::move(value));
    }
    PrintJson({{"policyDirs", config->policy_dirs}, {"policies", std::move(policies)}});
    return all_usable ? kDone : kRefused;
  }
  for (const ListedPolicy& entry : listed) {
    Print(Coloured(STDOUT_FILENO, Colour::kBold, Printable(entry.name)) +
          std::string(width - entry.name.size() + 2, ' ') + Printable(entry.description) + "\n" +
          std::string(width + 2, ' ') + Printable(entry.file) + "\n");
    if (!entry.problem.empty())
      Print(std::string(width + 2, ' ') + Coloured(STDOUT_FILENO, Colour::kRed, "not usable") +
            ": " + Printable(entry.problem) + "\n");
  }
  if (listed.empty()) Print("no policies in " + Printable(Joined(config->policy_dirs)) + "\n");
  return all_usable ? kDone : kRefused;
}

int ShowCommand(const Invocation& invocation, const std::string& name, bool json) {
  Result<node::Config> config = invocation.Config();
  if (!config) return PrintError(config.error());
  Result<policy::Policy> policy = LoadFileOrName(*config, name);
  if (!policy) return PrintError(policy.error());
  policy->landlock_given = policy->landlock;  // said, also where it is the default
  Json document = policy::EncodePolicy(*policy);
  if (json) {
    PrintJson(document);
    return kDone;
  }
  // For people: the document, and behind every rule where it comes from.
  std::string text = "// " + Printable(policy->name) + ": " + Printable(policy->file) + "\n{\n";
  const auto list = [&text](const char* key, const auto& rules, const auto& to_json) {
    text += std::string("  \"") + key + "\": [\n";
    for (size_t i = 0; i < rules.size(); ++i) {
      text += "    " + to_json(rules[i]).dump(-1, ' ', false, Json::error_handler_t::replace) +
              (i + 1 < rules.size() ? "," : "") + "  // " + Printable(rules[i].origin.file) + ": " +
              Printable(rules[i].origin.pointer) + "\n";
    }
    text += "  ]";
  };
  size_t left = document.size();
  for (const auto& [key, value] : *document.get_ptr<Json::object_t*>()) {
    if (key == "paths" && policy->paths) {
      list("paths", *policy->paths, policy::EncodePathRule);
    } else if (key == "network" && policy->network) {
      list("network", *policy->network, policy::EncodeNetworkRule);
    } else {
      text += "  " + Json(key).dump() + ": " +
              value.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    text += --left > 0 ? ",\n" : "\n";
  }
  Print(text + "}\n");
  return kDone;
}

// --- the command line
// -----------------------------------------------------------------------------

constexpr const char* kFileOrName = "A policy file, or a name from policyDirs (no slash, no .json)";

void AddValidate(CLI::App& policy, Invocation& invocation) {
  auto options = std::make_shared<ValidateOptions>();
  CLI::App* command = policy.add_subcommand(
      "validate", "Show every mistake in policy files, and what to know before relying on them");
  command
      ->add_option("FILE", options->files,
                   "Policy files, or names from policyDirs; - is standard input")
      ->required();
  command->add_flag("--json", options->json, "Print JSON");
  command->add_flag("--strict", options->strict, "Warnings count as refusals");
  command->footer(
      "Exit status: 0 all are usable, 1 at least one is not.\n"
      "Example: landgatectl policy validate --strict policies/*.json");
  command->callback([&invocation, options] {
    invocation.run = [&invocation, options] { return Validate(invocation, *options); };
  });
}

void AddExplain(CLI::App& policy, Invocation& invocation) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command =
      policy.add_subcommand("explain", "Show which rule decides about one access, and how");
  command->add_option("FILE", options->file, kFileOrName)->required();
  Question& question = options->question;
  CLI::Option_group* what = command->add_option_group("What is asked");
  CLI::Option* path = what->add_option("--path", question.path, "A path in the container");
  what->add_option(
      "--connect", question.connect,
      "A destination: 10.1.2.3:443, udp://[::1]:53, example.org:443, unix:/run/x.sock");
  what->add_option("--bind", question.bind, "A local address: 127.0.0.1:8080, *:80");
  what->add_option("--syscall", question.syscall, "A system call by name");
  what->add_option("--capability", question.capability, "A capability: CAP_NET_RAW or net_raw");
  what->require_option(1);
  command
      ->add_option(
          "--right", question.rights,
          "With --path: rights asked for (read, write, execute, …, or read_file, make_dir, …)")
      ->delimiter(',')
      ->needs(path);
  command
      ->add_option("--root", question.root,
                   "With --path: resolve paths and rules in this root file system")
      ->type_name("DIR")
      ->needs(path);
  command->add_flag("--json", options->json, "Print JSON");
  command->footer(
      "Exit status: 0 allowed, 1 denied (or the policy is not usable), 2 bad command line.\n"
      "Examples:\n"
      "  landgatectl policy explain web.json --path /etc/shadow --right read\n"
      "  landgatectl policy explain web.json --path /srv/app --right write create --root "
      "/srv/rootfs\n"
      "  landgatectl policy explain web-service --connect 10.0.0.7:5432\n"
      "  landgatectl policy explain baseline --syscall ptrace");
  command->callback([&invocation, options] {
    invocation.run = [&invocation, options] { return ExplainCommand(invocation, *options); };
  });
}

void AddCompile(CLI::App& policy, Invocation& invocation) {
  auto options = std::make_shared<CompileOptions>();
  CLI::App* command = policy.add_subcommand(
      "compile", "Show what the kernel would enforce in a root file system, rule by rule");
  command
      ->add_option("FILE", options->files,
                   "Policy files or names from policyDirs; several are a stack: all must allow")
      ->required();
  command->add_option("--root", options->root, "The container's root file system")
      ->type_name("DIR")
      ->required();
  CLI::Option* abi = command
                         ->add_option("--abi", options->abi,
                                      "Compile for this Landlock ABI (default: this kernel's)")
                         ->type_name("N")
                         ->check(CLI::Range(0, 64));
  command->add_flag("--host-network", options->host_network,
                    "The container shares the host's network namespace");
  command->add_flag("--host-pid", options->host_pid,
                    "The container shares the host's process namespace");
  command->add_flag("--json", options->json, "Print JSON");
  command->footer(
      "Nothing is changed: the root is only looked at. Volumes and /dev, /proc, /sys of a real\n"
      "container are not in a plain root file system; rules on them count as missing there.\n"
      "Exit status: 0 compiled, 1 refused, 3 this Landlock ABI lacks a right that the policy "
      "requires.\n"
      "Example: landgatectl policy compile baseline ./web.json --root /srv/rootfs --abi 4");
  command->callback([&invocation, options, abi] {
    options->abi_given = abi->count() > 0;
    invocation.run = [&invocation, options] { return CompileCommand(invocation, *options); };
  });
}

void AddListAndShow(CLI::App& policy, Invocation& invocation) {
  auto json = std::make_shared<bool>(false);
  CLI::App* list = policy.add_subcommand("list", "List the policies of this node by name");
  list->add_flag("--json", *json, "Print JSON");
  list->footer("Exit status: 0 all are usable, 1 at least one is not.");
  list->callback([&invocation, json] {
    invocation.run = [&invocation, json] { return ListCommand(invocation, *json); };
  });

  auto name = std::make_shared<std::string>();
  auto show_json = std::make_shared<bool>(false);
  CLI::App* show =
      policy.add_subcommand("show", "Show a policy with everything that it extends merged in");
  show->add_option("NAME", *name, kFileOrName)->required();
  show->add_flag("--json", *show_json,
                 "Print a policy document without comments (the merged policy, usable as one)");
  show->footer(
      "Exit status: 0 shown, 1 the policy is not usable.\n"
      "Example: landgatectl policy show web-service");
  show->callback([&invocation, name, show_json] {
    invocation.run = [&invocation, name, show_json] {
      return ShowCommand(invocation, *name, *show_json);
    };
  });
}

}  // namespace

void AddPolicyCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* policy =
      app.add_subcommand("policy", "Validate, explain, compile, list, show policies");
  policy->fallthrough();
  AddValidate(*policy, invocation);
  AddExplain(*policy, invocation);
  AddCompile(*policy, invocation);
  AddListAndShow(*policy, invocation);
  for (CLI::App* command : policy->get_subcommands({})) command->fallthrough();
}

}  // namespace landgate::ctl
