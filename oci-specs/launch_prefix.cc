#include "oci-specs/launch_prefix.h"

#include <optional>
#include <string>

namespace landgate::oci {

bool HasLauncher(const JsonNode& process, std::string_view verb) {
  const JsonNode* args = process.Find("args");
  return args != nullptr && args->children().size() >= 3 && args->children()[0].Is(kLauncherPath) &&
         args->children()[1].Is(verb);
}

Status PutLauncherInFront(JsonText& document, JsonNode& process, std::string_view pointer,
                          std::string_view verb) {
  const std::string place = std::string(pointer) + "/args";
  JsonNode* args = process.Find("args");
  if (args == nullptr || !args->IsArray() || args->children().empty()) {
    return document.Fail(place, "must name a program: there is nothing to put the launcher before");
  }
  for (const JsonNode& arg : args->children()) {
    if (!arg.IsString()) return document.Fail(place, "must hold strings alone");
    if (arg.String().find('\0') != std::string::npos) {
      return document.Fail(place, "an argument can't hold a NUL");
    }
  }
  if (HasLauncher(process, verb)) return {};
  document.Insert(*args, 0, document.String(verb));
  document.Insert(*args, 0, document.String(kLauncherPath));
  return {};
}

Status ReduceCapabilities(JsonText& document, JsonNode& process, std::string_view pointer,
                          CapabilitySet keep) {
  const std::string place = std::string(pointer) + "/capabilities";
  JsonNode* capabilities = process.Find("capabilities");
  if (capabilities == nullptr || capabilities->IsNull()) return {};  // runtimes give none then
  if (!capabilities->IsObject()) return document.Fail(place, "must be an object");
  const std::initializer_list<std::string_view> kSets = {"bounding", "effective", "inheritable",
                                                         "permitted", "ambient"};
  if (Status ok = RefuseLookalikes(document, *capabilities, place, kSets); !ok) return ok;
  for (const std::string_view name : kSets) {
    JsonNode* set = capabilities->Find(name);
    if (set == nullptr || set->IsNull()) continue;
    const std::string set_place = place + "/" + std::string(name);
    if (!set->IsArray()) return document.Fail(set_place, "must be an array");
    for (size_t i = set->children().size(); i-- > 0;) {
      const JsonNode& item = set->children()[i];
      if (!item.IsString()) return document.Fail(set_place, "must hold strings alone");
      const std::optional<int> number = CapabilityNumber(item.String());
      const bool kept = number && (keep >> *number & 1) != 0;
      if (!kept) document.RemoveItem(*set, i);
    }
  }
  return {};
}

}  // namespace landgate::oci
