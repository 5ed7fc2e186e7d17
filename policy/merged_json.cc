#include "policy/merged_json.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "policy/document_encode.h"
#include "policy/document_json.h"

namespace landgate::policy {
namespace {

constexpr size_t kMostFiles = 64;  // documents of one policy, the node's configuration among them

// --- encoding

class OriginWriter {
 public:
  Json Encode(const Origin& origin) {
    const auto found = std::find(files_.begin(), files_.end(), origin.file);
    const auto index = static_cast<uint64_t>(found - files_.begin());
    if (found == files_.end()) files_.push_back(origin.file);
    return Json::array({index, origin.pointer});
  }
  template <class Rule>
  Json EncodeAll(const std::vector<Rule>& rules) {
    Json list = Json::array();
    for (const Rule& rule : rules) list.push_back(Encode(rule.origin));
    return list;
  }
  const std::vector<std::string>& files() const { return files_; }

 private:
  std::vector<std::string> files_;
};

// The first emulation that the document can't hold: one of the same system call stands before it.
size_t FirstRepeated(const std::vector<Emulation>& emulate) {
  for (size_t i = 0; i < emulate.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (emulate[j].syscall == emulate[i].syscall) return i;
    }
  }
  return emulate.size();
}

// --- decoding

Result<Origin> DecodeOrigin(const JsonCursor& at, const std::vector<std::string>& files) {
  Result<std::vector<JsonCursor>> items = at.Items(2);
  if (!items) return Forward(items);
  if (items->size() != 2) return at.Fail("must be [number of the file, JSON pointer]");
  Result<uint64_t> file = (*items)[0].Unsigned();
  if (!file) return Forward(file);
  if (*file >= files.size()) return at.Fail("there is no such file");
  Result<std::string> pointer = (*items)[1].String();
  if (!pointer) return Forward(pointer);
  return Origin{files[*file], std::move(*pointer)};
}

// One origin for each of `rules`; none where there are none.
template <class Rule>
Status DecodeOrigins(const JsonCursor& origins, std::string_view key,
                     const std::vector<std::string>& files, std::vector<Rule>* rules) {
  const size_t count = rules == nullptr ? 0 : rules->size();
  if (!origins.Has(key)) {
    if (count == 0) return {};
    return origins.Fail("`" + std::string(key) + "` is missing");
  }
  const JsonCursor list = origins.At(key);
  Result<std::vector<JsonCursor>> items = list.Items();
  if (!items) return Forward(items);
  if (items->size() != count) return list.Fail("must have one entry for every rule");
  for (size_t i = 0; i < count; ++i) {
    Result<Origin> origin = DecodeOrigin((*items)[i], files);
    if (!origin) return Forward(origin);
    (*rules)[i].origin = std::move(*origin);
  }
  return {};
}

Status DecodeAllOrigins(const JsonCursor& at, Policy& policy) {
  if (Status ok = at.Only({"files", "keys", "paths", "network", "landlock", "capabilities"}); !ok) {
    return ok;
  }
  std::vector<std::string> files;
  for (const std::string_view key : {"files", "keys"}) {
    if (!at.Has(key)) return at.Fail("`" + std::string(key) + "` is missing");
  }
  Result<std::vector<JsonCursor>> items = at.At("files").Items(kMostFiles);
  if (!items) return Forward(items);
  for (const JsonCursor& item : *items) {
    Result<std::string> file = item.String();
    if (!file) return Forward(file);
    files.push_back(std::move(*file));
  }
  const JsonCursor keys = at.At("keys");
  if (Status ok = keys.IsObject(); !ok) return ok;
  policy.origins.clear();
  for (const std::string& key : keys.Keys()) {
    Result<Origin> origin = DecodeOrigin(keys.At(key), files);
    if (!origin) return Forward(origin);
    policy.origins[key] = std::move(*origin);
  }
  Status ok = DecodeOrigins(at, "paths", files, policy.paths ? &*policy.paths : nullptr);
  if (!ok) return ok;
  ok = DecodeOrigins(at, "network", files, policy.network ? &*policy.network : nullptr);
  if (!ok) return ok;
  ok = DecodeOrigins(at, "landlock", files, &policy.landlock_layers);
  if (!ok) return ok;
  if (at.Has("capabilities") != policy.capabilities.has_value()) {
    return at.Fail("`capabilities` must be there where the section is");
  }
  if (!policy.capabilities) return {};
  Result<Origin> origin = DecodeOrigin(at.At("capabilities"), files);
  if (!origin) return Forward(origin);
  policy.capabilities->origin = std::move(*origin);
  return {};
}

Status DecodeProtected(const JsonCursor& at, Policy& policy) {
  Result<std::vector<JsonCursor>> items = at.Items();
  if (!items) return Forward(items);
  for (const JsonCursor& item : *items) {
    Result<uint64_t> index = item.Unsigned();
    if (!index) return Forward(index);
    if (!policy.paths || *index >= policy.paths->size()) return item.Fail("there is no such rule");
    (*policy.paths)[*index].is_protected = true;
  }
  return {};
}

// Each is a document of its own, so that one decoder knows what an emulation looks like.
Status DecodeRepeated(const JsonCursor& at, Policy& policy) {
  Result<std::vector<JsonCursor>> items = at.Items(1000);
  if (!items) return Forward(items);
  if (!policy.capabilities) return at.Fail("there is no `capabilities` section");
  for (const JsonCursor& item : *items) {
    Json document = Json::object();
    document["landgate"] = 1;
    document["capabilities"]["emulate"] = item.value();
    Result<Policy> decoded =
        DecodePolicy(JsonCursor(document, item.file(), item.pointer()), policy.name);
    if (!decoded) return Forward(decoded);
    for (Emulation& emulation : decoded->capabilities->emulate) {
      policy.capabilities->emulate.push_back(std::move(emulation));
    }
  }
  return {};
}

}  // namespace

Json EncodeMerged(const Policy& policy) {
  Json value = Json::object();
  value["name"] = policy.name;
  value["file"] = policy.file;
  const size_t emulations = policy.capabilities ? policy.capabilities->emulate.size() : 0;
  const size_t repeated = policy.capabilities ? FirstRepeated(policy.capabilities->emulate) : 0;
  if (repeated < emulations) {
    Policy first = policy;
    first.capabilities->emulate.resize(repeated);
    value["document"] = EncodePolicy(first);
    for (size_t i = repeated; i < emulations; ++i) {
      const Emulation& emulation = policy.capabilities->emulate[i];
      Json one = Json::object();
      one[emulation.syscall] = EncodeEmulation(emulation);
      value["emulate"].push_back(std::move(one));
    }
  } else {
    value["document"] = EncodePolicy(policy);
  }

  OriginWriter writer;
  Json keys = Json::object();
  for (const auto& [key, origin] : policy.origins) keys[key] = writer.Encode(origin);
  Json origins = Json::object();
  if (policy.paths) {
    for (size_t i = 0; i < policy.paths->size(); ++i) {
      if ((*policy.paths)[i].is_protected) value["protected"].push_back(i);
    }
    origins["paths"] = writer.EncodeAll(*policy.paths);
  }
  if (policy.network) origins["network"] = writer.EncodeAll(*policy.network);
  if (!policy.landlock_layers.empty()) {
    origins["landlock"] = writer.EncodeAll(policy.landlock_layers);
  }
  if (policy.capabilities) origins["capabilities"] = writer.Encode(policy.capabilities->origin);
  origins["keys"] = std::move(keys);
  origins["files"] = writer.files();
  value["origins"] = std::move(origins);
  return value;
}

Result<Policy> DecodeMerged(const JsonCursor& at) {
  if (Status ok = at.Only({"name", "file", "document", "emulate", "protected", "origins"}); !ok) {
    return Forward(ok);
  }
  for (const std::string_view key : {"name", "file", "document", "origins"}) {
    if (!at.Has(key)) return at.Fail("`" + std::string(key) + "` is missing");
  }
  Result<std::string> name = at.At("name").String();
  if (!name) return Forward(name);
  Result<std::string> file = at.At("file").String();
  if (!file) return Forward(file);
  Result<Policy> policy = DecodePolicy(at.At("document"), *name);
  if (!policy) return policy;
  policy->file = std::move(*file);
  if (at.Has("emulate")) {
    if (Status ok = DecodeRepeated(at.At("emulate"), *policy); !ok) return Forward(ok);
  }
  if (at.Has("protected")) {
    if (Status ok = DecodeProtected(at.At("protected"), *policy); !ok) return Forward(ok);
  }
  if (Status ok = DecodeAllOrigins(at.At("origins"), *policy); !ok) return Forward(ok);
  return policy;
}

}  // namespace landgate::policy
