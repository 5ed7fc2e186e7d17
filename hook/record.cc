#include "hook/record.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <limits>
#include <memory>

#include "base/files.h"
#include "base/paths.h"
#include "node/object_json.h"
#include "policy/document_keys.h"
#include "policy/json_reader.h"

namespace landgate::hook {
namespace {

using policy::ExecSessions;
using policy::Json;
using policy::JsonCursor;

using node::DecodeObject;
using node::EncodeObject;
using policy::keys::Choice;
using policy::keys::kExecSessions;

constexpr Choice<oci::Mode> kModes[] = {{"enforce", oci::Mode::kEnforce},
                                        {"audit", oci::Mode::kAudit}};
constexpr Choice<ListenerVariant> kListeners[] = {{"none", ListenerVariant::kNone},
                                                  {"refusal", ListenerVariant::kRefusal},
                                                  {"agent", ListenerVariant::kAgent}};

template <class T, size_t N>
Json EncodeWord(T value, const Choice<T> (&choices)[N]) {
  for (const Choice<T>& choice : choices) {
    if (choice.value == value) return std::string(choice.word);
  }
  return nullptr;
}

template <class T, size_t N>
Result<T> DecodeWord(const JsonCursor& at, const Choice<T> (&choices)[N]) {
  Result<std::string> text = at.String();
  if (!text) return Forward(text);
  std::string known;
  for (const Choice<T>& choice : choices) {
    if (choice.word == *text) return choice.value;
    known += (known.empty() ? "" : ", ") + std::string(choice.word);
  }
  return at.Fail("\"" + *text + "\" is none of " + known);
}

Result<std::vector<std::string>> DecodeStrings(const JsonCursor& at) {
  Result<std::vector<JsonCursor>> items = at.Items(1000);
  if (!items) return Forward(items);
  std::vector<std::string> strings;
  for (const JsonCursor& item : *items) {
    Result<std::string> text = item.String();
    if (!text) return Forward(text);
    strings.push_back(std::move(*text));
  }
  return strings;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { (void)closedir(directory); }
};

}  // namespace

std::string EncodeRecord(const Record& record) {
  Json json;
  json["id"] = record.id;
  json["bundle"] = record.bundle;
  json["pid"] = record.pid;
  json["startTime"] = record.start_time;
  json["policies"] = record.policies;
  json["mode"] = EncodeWord(record.mode, kModes);
  json["execSessions"] = EncodeWord(record.exec_sessions, kExecSessions);
  json["listener"] = EncodeWord(record.listener, kListeners);
  if (!record.agent_socket.empty()) json["agentSocket"] = record.agent_socket;
  if (!record.exec_socket.empty()) json["execSocket"] = record.exec_socket;
  if (record.keep) json["keep"] = CapabilityNames(*record.keep);
  json["launcher"] = EncodeObject(record.launcher);
  json["plan"] = EncodeObject(record.plan);
  // Bundle paths are bytes; what is no UTF-8 is written as U+FFFD, and only people read it.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Record> DecodeRecord(std::string_view text, std::string_view file) {
  Result<Json> json = policy::ParseJson(text, file, policy::Comments::kRefused);
  if (!json) return Forward(json);
  const JsonCursor root(*json, std::string(file));
  if (Status ok = root.Only({"id", "bundle", "pid", "startTime", "policies", "mode", "execSessions",
                             "listener", "execSocket", "agentSocket", "keep", "launcher", "plan"});
      !ok) {
    return Forward(ok);
  }
  for (const std::string_view key :
       {"id", "bundle", "pid", "startTime", "policies", "execSessions", "launcher", "plan"}) {
    if (!root.Has(key)) return root.Fail("`" + std::string(key) + "` is missing");
  }
  Record record;
  Result<std::string> id = root.At("id").String();
  if (!id) return Forward(id);
  record.id = std::move(*id);
  Result<std::string> bundle = root.At("bundle").String();
  if (!bundle) return Forward(bundle);
  record.bundle = std::move(*bundle);
  Result<int64_t> pid = root.At("pid").Integer(1, std::numeric_limits<pid_t>::max());
  if (!pid) return Forward(pid);
  record.pid = static_cast<pid_t>(*pid);
  Result<uint64_t> start_time = root.At("startTime").Unsigned();
  if (!start_time) return Forward(start_time);
  record.start_time = *start_time;
  Result<std::vector<std::string>> policies = DecodeStrings(root.At("policies"));
  if (!policies) return Forward(policies);
  record.policies = std::move(*policies);
  Result<ExecSessions> exec = DecodeWord(root.At("execSessions"), kExecSessions);
  if (!exec) return Forward(exec);
  record.exec_sessions = *exec;
  // The next three are absent in records of releases without an agent.
  if (root.Has("mode")) {
    Result<oci::Mode> mode = DecodeWord(root.At("mode"), kModes);
    if (!mode) return Forward(mode);
    record.mode = *mode;
  }
  if (root.Has("listener")) {
    Result<ListenerVariant> listener = DecodeWord(root.At("listener"), kListeners);
    if (!listener) return Forward(listener);
    record.listener = *listener;
  }
  for (auto [key, socket] :
       {std::pair{"execSocket", &record.exec_socket}, {"agentSocket", &record.agent_socket}}) {
    if (!root.Has(key)) continue;
    Result<std::string> text_of = root.At(key).String();
    if (!text_of) return Forward(text_of);
    *socket = std::move(*text_of);
  }
  if (root.Has("keep")) {
    Result<std::vector<std::string>> names = DecodeStrings(root.At("keep"));
    if (!names) return Forward(names);
    record.keep = 0;
    for (const std::string& name : *names) {
      const std::optional<int> number = CapabilityNumber(name);
      if (!number) return root.At("keep").Fail("\"" + name + "\" is no capability");
      *record.keep |= CapabilitySet{1} << *number;
    }
  }
  Result<sandbox::ObjectId> launcher = DecodeObject(root.At("launcher"));
  if (!launcher) return Forward(launcher);
  record.launcher = *launcher;
  Result<sandbox::ObjectId> plan = DecodeObject(root.At("plan"));
  if (!plan) return Forward(plan);
  record.plan = *plan;
  return record;
}

Result<std::string> MakeRunDirectory(const std::string& run_dir, std::string_view name) {
  const std::string path = Join(run_dir, name);
  // Nearly always it is there.
  if (mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) {
    if (errno != ENOENT) return SystemError(path, errno);
    if (Status ok = MakeDirectories(run_dir, 0755); !ok) return Forward(ok);
    if (Status ok = MakeDirectories(path, 0700); !ok) return Forward(ok);
  }
  for (const std::string& directory : {run_dir, path}) {
    struct stat st;
    if (lstat(directory.c_str(), &st) < 0) return SystemError(directory, errno);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))) {
      return Refuse(directory + ": must be a directory of uid " + std::to_string(geteuid()) +
                    " that nobody else can write; remove it, or set runDir in config.json");
    }
  }
  return path;
}

std::string ContainerDirectory(const std::string& run_dir, const std::string& id) {
  return Join(run_dir, "containers/" + id);
}

Result<std::optional<Record>> ReadRecord(const std::string& run_dir, const std::string& id) {
  const std::string file = ContainerDirectory(run_dir, id) + "/record.json";
  Result<std::string> text = ReadTrustedFile(file, geteuid(), size_t{1} << 20);
  if (!text) {
    if (text.error().error_number == ENOENT) return std::optional<Record>();
    return Context("container record", text);
  }
  Result<Record> record = DecodeRecord(*text, file);
  if (!record) return Forward(record);
  if (record->id != id) return Refuse(file + ": /id: is the record of another container");
  return std::optional<Record>(std::move(*record));
}

Result<uint64_t> ProcessStartTime(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  Result<std::string> text = ReadFile(path, 4096);
  if (!text) return Forward(text);
  // "PID (COMM) STATE PPID …": COMM may hold anything, so count from its last parenthesis.
  size_t at = text->rfind(')');
  const char state = at != std::string::npos && at + 2 < text->size() ? (*text)[at + 2] : '?';
  if (state == 'Z' || state == 'X') return SystemError(path, ENOENT);
  constexpr int kFieldsFromComm = 20;  // proc(5): COMM is field 2, starttime field 22
  for (int field = 0; field < kFieldsFromComm && at != std::string::npos; ++field) {
    at = text->find(' ', at + 1);
  }
  uint64_t ticks = 0;
  const char* const end = text->data() + text->size();
  if (at == std::string::npos ||
      std::from_chars(text->data() + at + 1, end, ticks).ec != std::errc()) {
    return Refuse(path + ": is not as proc(5) describes it");
  }
  return ticks;
}

bool IsAlive(const Record& record) {
  const Result<uint64_t> start_time = ProcessStartTime(record.pid);
  if (!start_time) {
    // ESRCH: it ended between open and read.
    const int error = start_time.error().error_number;
    return error != ENOENT && error != ESRCH;
  }
  return *start_time == record.start_time;
}

std::optional<Record> FindByExecSocket(const std::string& run_dir, const std::string& exec_socket,
                                       const std::string& except_id) {
  const std::string containers = Join(run_dir, "containers");
  const std::unique_ptr<DIR, CloseDirectory> directory(opendir(containers.c_str()));
  if (!directory) return std::nullopt;
  while (const dirent* entry = readdir(directory.get())) {
    const std::string id = entry->d_name;
    if (id == "." || id == ".." || id == except_id) continue;
    Result<std::optional<Record>> record = ReadRecord(run_dir, id);
    if (!record || !*record || (*record)->exec_socket != exec_socket) continue;
    if (IsAlive(**record)) return std::move(**record);
  }
  return std::nullopt;
}

Status RemoveStale(const std::string& run_dir, const std::string& id) {
  // A record that can't be read is nobody's protection: exec sessions are refused with it as it is.
  const Result<std::optional<Record>> record = ReadRecord(run_dir, id);
  if (record && *record && IsAlive(**record)) {
    return Refuse("container " + id + " runs under a policy already (bundle " + (*record)->bundle +
                  ", pid " + std::to_string((*record)->pid) + "); use another id");
  }
  return RemoveContainer(run_dir, id);
}

Status RemoveContainer(const std::string& run_dir, const std::string& id) {
  const std::string directory = ContainerDirectory(run_dir, id);
  // The record first: a directory that is half gone is one without a record.
  for (const char* name : kRecordFiles) {
    const std::string path = Join(directory, name);
    if (unlink(path.c_str()) < 0 && errno != ENOENT && errno != ENOTDIR) {
      return SystemError(path, errno);
    }
  }
  if (rmdir(directory.c_str()) < 0 && errno != ENOENT) return SystemError(directory, errno);
  return {};
}

}  // namespace landgate::hook
