#include "node/registration.h"

#include <limits>
#include <utility>

#include "base/files.h"
#include "node/object_json.h"
#include "oci-specs/state.h"
#include "policy/document_keys.h"
#include "policy/json_reader.h"
#include "policy/merged_json.h"

namespace landgate::node {
namespace {

using policy::Json;
using policy::JsonCursor;
using policy::keys::Choice;
using sandbox::MountStepKind;

constexpr size_t kMostPolicies = 64;
constexpr size_t kMostMounts = 100000;
constexpr size_t kMostOverMounts = 1000;  // entries of a PATH

constexpr Choice<oci::Mode> kModes[] = {
    {"enforce", oci::Mode::kEnforce}, {"audit", oci::Mode::kAudit}, {"learn", oci::Mode::kLearn}};
constexpr Choice<MountStepKind> kKinds[] = {
    {"mask-file", MountStepKind::kMaskFile}, {"mask-empty", MountStepKind::kMaskEmpty},
    {"mask-dir", MountStepKind::kMaskDir},   {"restrict", MountStepKind::kRestrict},
    {"bind-back", MountStepKind::kBindBack}, {"pin", MountStepKind::kPin}};
constexpr std::string_view kFrontEnds[] = {"precreate", "inject", "runtime", "prestart"};

template <class T, size_t N>
std::string WordFor(T value, const Choice<T> (&choices)[N]) {
  for (const Choice<T>& choice : choices) {
    if (choice.value == value) return std::string(choice.word);
  }
  return "";
}

// --- encoding

Json EncodeMount(const sandbox::MountStep& step) {
  Json value = Json::object();
  value["kind"] = WordFor(step.kind, kKinds);
  value["path"] = step.path;
  value["object"] = EncodeObject(step.object);
  for (const auto& [key, flag] : {std::pair{"directory", step.directory},
                                  {"readOnly", step.read_only},
                                  {"noexec", step.noexec},
                                  {"nodev", step.nodev},
                                  {"writableAgain", step.writable_again}}) {
    if (flag) value[key] = true;
  }
  if (!step.because.empty()) value["because"] = step.because;
  return value;
}

Json EncodeOverMount(const OverMount& over) {
  Json value = Json::object();
  value["path"] = over.path;
  value["object"] = EncodeObject(over.object);
  value["mountId"] = over.mount_id;
  return value;
}

// --- decoding

// Accessors remember the first failure and go on with an empty value, so that the body reads like
// the object; what was decoded after a failure is thrown away.
class Reader {
 public:
  void Note(Error error) {
    if (!failure_) failure_ = std::move(error);
  }
  bool Check(Status status) {
    if (status) return true;
    Note(std::move(status).error());
    return false;
  }
  template <class T>
  T Take(Result<T> result) {
    if (result) return std::move(*result);
    Note(std::move(result).error());
    return T{};
  }
  // Every key of `known` that is not in `optional` must be there, and no other.
  bool Keys(const JsonCursor& at, std::initializer_list<std::string_view> mandatory,
            std::initializer_list<std::string_view> optional) {
    std::vector<std::string_view> known(mandatory);
    known.insert(known.end(), optional.begin(), optional.end());
    if (!Check(at.OnlyOf(known))) return false;
    for (const std::string_view key : mandatory) {
      if (at.Has(key)) continue;
      Note(at.Fail("`" + std::string(key) + "` is missing").value());
      return false;
    }
    return true;
  }
  std::string Text(const JsonCursor& object, std::string_view key, size_t at_most = 65536) {
    return object.Has(key) ? Take(object.At(key).String(at_most)) : "";
  }
  bool Flag(const JsonCursor& object, std::string_view key) {
    return object.Has(key) && Take(object.At(key).Bool());
  }
  template <class T, size_t N>
  T Word(const JsonCursor& at, const Choice<T> (&choices)[N]) {
    const std::string word = Take(at.String());
    for (const Choice<T>& choice : choices) {
      if (choice.word == word) return choice.value;
    }
    Note(at.Fail("unknown word \"" + word + "\"").value());
    return T{};
  }
  std::optional<Error>& failure() { return failure_; }

 private:
  std::optional<Error> failure_;
};

sandbox::MountStep DecodeMount(const JsonCursor& at, Reader& reader) {
  sandbox::MountStep step;
  if (!reader.Keys(at, {"kind", "path", "object"},
                   {"directory", "readOnly", "noexec", "nodev", "writableAgain", "because"})) {
    return step;
  }
  step.kind = reader.Word(at.At("kind"), kKinds);
  step.path = reader.Text(at, "path");
  step.object = reader.Take(DecodeObject(at.At("object")));
  step.directory = reader.Flag(at, "directory");
  step.read_only = reader.Flag(at, "readOnly");
  step.noexec = reader.Flag(at, "noexec");
  step.nodev = reader.Flag(at, "nodev");
  step.writable_again = reader.Flag(at, "writableAgain");
  step.because = reader.Text(at, "because");
  return step;
}

OverMount DecodeOverMount(const JsonCursor& at, Reader& reader) {
  OverMount over;
  if (!reader.Keys(at, {"path", "object", "mountId"}, {})) return over;
  over.path = reader.Text(at, "path");
  over.object = reader.Take(DecodeObject(at.At("object")));
  over.mount_id = reader.Take(at.At("mountId").Unsigned());
  return over;
}

void DecodeNames(const JsonCursor& root, Registration& into, Reader& reader) {
  into.id = reader.Text(root, "id");
  if (!oci::IsContainerId(into.id)) {
    reader.Note(root.At("id").Fail("can't be a container's id").value());
  }
  into.front_end = reader.Text(root, "frontEnd");
  bool known = false;
  for (const std::string_view name : kFrontEnds) known = known || name == into.front_end;
  if (!known) reader.Note(root.At("frontEnd").Fail("no front end is called so").value());
  into.bundle = reader.Text(root, "bundle");
  into.root = reader.Text(root, "root");
  into.pod = reader.Text(root, "pod");
  into.pod_namespace = reader.Text(root, "podNamespace");
  into.container_name = reader.Text(root, "containerName");
}

}  // namespace

std::string EncodeRegistration(const Registration& registration) {
  Json value = Json::object();
  value["id"] = registration.id;
  value["pid"] = registration.pid;
  value["startTime"] = registration.start_time;
  value["bundle"] = registration.bundle;
  value["root"] = registration.root;
  value["mode"] = WordFor(registration.mode, kModes);
  value["frontEnd"] = registration.front_end;
  value["listenerExpected"] = registration.listener_expected;
  value["execSessions"] = WordFor(registration.exec_sessions, policy::keys::kExecSessions);
  value["policies"] = Json::array();
  for (const policy::Policy& policy : registration.policies) {
    value["policies"].push_back(policy::EncodeMerged(policy));
  }
  for (const auto& [key, text] : {std::pair{"pod", &registration.pod},
                                  {"podNamespace", &registration.pod_namespace},
                                  {"containerName", &registration.container_name},
                                  {"floor", &registration.floor_json}}) {
    if (!text->empty()) value[key] = *text;
  }
  value["launcher"] = EncodeObject(registration.launcher);
  value["plan"] = EncodeObject(registration.plan);
  if (!registration.mounts.empty()) value["mounts"] = Json::array();
  for (const sandbox::MountStep& step : registration.mounts) {
    value["mounts"].push_back(EncodeMount(step));
  }
  if (!registration.over_mounts.empty()) value["overMounts"] = Json::array();
  for (const OverMount& over : registration.over_mounts) {
    value["overMounts"].push_back(EncodeOverMount(over));
  }
  // Paths are bytes; what is no UTF-8 is written as U+FFFD, and only people read it: objects are
  // told by device and inode.
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Registration> DecodeRegistration(std::string_view text) {
  Result<Json> json = policy::ParseJson(text, "registration", policy::Comments::kRefused);
  if (!json) return Forward(json);
  const JsonCursor root(*json, "registration");
  Reader reader;
  Registration registration;
  if (!reader.Keys(root,
                   {"id", "pid", "startTime", "bundle", "root", "mode", "frontEnd",
                    "listenerExpected", "execSessions", "policies", "launcher", "plan"},
                   {"pod", "podNamespace", "containerName", "floor", "mounts", "overMounts"})) {
    return Failure(*reader.failure());
  }
  DecodeNames(root, registration, reader);
  registration.pid =
      static_cast<pid_t>(reader.Take(root.At("pid").Integer(1, std::numeric_limits<pid_t>::max())));
  registration.start_time = reader.Take(root.At("startTime").Unsigned());
  registration.mode = reader.Word(root.At("mode"), kModes);
  registration.listener_expected = reader.Flag(root, "listenerExpected");
  registration.exec_sessions = reader.Word(root.At("execSessions"), policy::keys::kExecSessions);
  const auto policies = reader.Take(root.At("policies").Items(kMostPolicies));
  if (policies.empty()) {
    reader.Note(root.At("policies").Fail("a container without a policy is not registered").value());
  }
  for (const JsonCursor& item : policies) {
    registration.policies.push_back(reader.Take(policy::DecodeMerged(item)));
    if (reader.failure()) return Failure(*reader.failure());
  }
  registration.launcher = reader.Take(DecodeObject(root.At("launcher")));
  registration.plan = reader.Take(DecodeObject(root.At("plan")));
  registration.floor_json = reader.Text(root, "floor", kMaxDocumentBytes);
  if (root.Has("mounts")) {
    for (const JsonCursor& item : reader.Take(root.At("mounts").Items(kMostMounts))) {
      registration.mounts.push_back(DecodeMount(item, reader));
    }
  }
  if (root.Has("overMounts")) {
    for (const JsonCursor& item : reader.Take(root.At("overMounts").Items(kMostOverMounts))) {
      registration.over_mounts.push_back(DecodeOverMount(item, reader));
    }
  }
  if (reader.failure()) return Failure(*reader.failure());
  return registration;
}

}  // namespace landgate::node
