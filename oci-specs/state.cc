#include "oci-specs/state.h"

#include "base/files.h"
#include "policy/json_reader.h"

namespace landgate::oci {
namespace {

using policy::JsonCursor;

constexpr int64_t kMaxPid = int64_t{1} << 22;  // PID_MAX_LIMIT
constexpr size_t kMaxId = 255;                 // NAME_MAX
constexpr size_t kMaxStatus = 64;
constexpr size_t kMaxPath = 4095;
constexpr size_t kMaxFds = 253;  // SCM_MAX_FD
constexpr size_t kMaxMetadata = size_t{64} << 10;

// An absent or null member decodes as the zero value, as Go's encoder omits it.
bool IsGiven(const JsonCursor& object, std::string_view key) {
  return object.Has(key) && !object.At(key).value().is_null();
}

Result<std::string> OptionalString(const JsonCursor& object, std::string_view key, size_t limit) {
  if (!IsGiven(object, key)) return std::string();
  return object.At(key).String(limit);
}

Result<pid_t> OptionalPid(const JsonCursor& object) {
  if (!IsGiven(object, "pid")) return pid_t{0};
  Result<int64_t> pid = object.At("pid").Integer(0, kMaxPid);
  if (!pid) return Forward(pid);
  return static_cast<pid_t>(*pid);
}

enum class Bundle { kAbsolute, kAbsoluteOrDot };

Result<State> ReadState(const JsonCursor& object, Bundle bundle_form) {
  if (Status ok = object.IsObject(); !ok) return Forward(ok);
  State state;
  if (!IsGiven(object, "id")) return object.Fail("the container's id is missing");
  Result<std::string> id = object.At("id").String(kMaxId);
  if (!id) return Forward(id);
  if (!IsContainerId(*id)) return object.At("id").Fail("is no container id");
  state.id = std::move(*id);

  Result<std::string> status = OptionalString(object, "status", kMaxStatus);
  if (!status) return Forward(status);
  state.status = std::move(*status);

  Result<pid_t> pid = OptionalPid(object);
  if (!pid) return Forward(pid);
  state.pid = *pid;

  if (!IsGiven(object, "bundle")) return object.Fail("the bundle is missing");
  Result<std::string> bundle = object.At("bundle").String(kMaxPath);
  if (!bundle) return Forward(bundle);
  const bool dot = bundle_form == Bundle::kAbsoluteOrDot && *bundle == ".";
  if (!bundle->starts_with('/') && !dot) {
    return object.At("bundle").Fail("must be an absolute path");
  }
  state.bundle = std::move(*bundle);

  if (!IsGiven(object, "annotations")) return state;
  const JsonCursor annotations = object.At("annotations");
  if (Status ok = annotations.IsObject(); !ok) return Forward(ok);
  for (const std::string& key : annotations.Keys()) {
    Result<std::string> value = annotations.At(key).String(kMaxDocumentBytes);
    if (!value) return Forward(value);
    state.annotations.emplace(key, std::move(*value));
  }
  return state;
}

Result<policy::Json> Parse(std::string_view json, std::string_view source) {
  if (json.size() > kMaxDocumentBytes) {
    return Refuse(std::string(source) + ": larger than " + std::to_string(kMaxDocumentBytes) +
                  " bytes");
  }
  return policy::ParseJson(json, source, policy::Comments::kRefused);
}

}  // namespace

bool IsContainerId(std::string_view id) {
  if (id.empty() || id.size() > kMaxId || id == "." || id == "..") return false;
  for (const char c : id) {
    const bool letter_or_digit =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter_or_digit && c != '_' && c != '.' && c != '+' && c != '-') return false;
  }
  return true;
}

Result<State> DecodeState(std::string_view json, std::string_view source) {
  Result<policy::Json> document = Parse(json, source);
  if (!document) return Forward(document);
  return ReadState(JsonCursor(*document, std::string(source)), Bundle::kAbsolute);
}

Result<ContainerProcessState> DecodeContainerProcessState(std::string_view json) {
  const std::string source = "seccomp listener";
  Result<policy::Json> document = Parse(json, source);
  if (!document) return Forward(document);
  const JsonCursor object(*document, source);
  if (Status ok = object.IsObject(); !ok) return Forward(ok);
  ContainerProcessState decoded;

  if (!IsGiven(object, "fds")) return object.Fail("the names of the descriptors are missing");
  Result<std::vector<JsonCursor>> fds = object.At("fds").Items(kMaxFds);
  if (!fds) return Forward(fds);
  for (const JsonCursor& item : *fds) {
    Result<std::string> name = item.String(kMaxId);
    if (!name) return Forward(name);
    decoded.fds.push_back(std::move(*name));
  }

  Result<pid_t> pid = OptionalPid(object);
  if (!pid) return Forward(pid);
  decoded.pid = *pid;

  Result<std::string> metadata = OptionalString(object, "metadata", kMaxMetadata);
  if (!metadata) return Forward(metadata);
  decoded.metadata = std::move(*metadata);

  if (!IsGiven(object, "state")) return object.Fail("the container's state is missing");
  Result<State> state = ReadState(object.At("state"), Bundle::kAbsoluteOrDot);
  if (!state) return Forward(state);
  decoded.state = std::move(*state);
  return decoded;
}

}  // namespace landgate::oci
