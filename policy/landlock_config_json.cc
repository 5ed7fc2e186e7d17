#include "policy/landlock_config_json.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/paths.h"
#include "policy/nearest.h"
#include "policy/rights.h"

namespace landgate::policy {
namespace {

// What one document may ask for. Landlock itself takes any number; a template over several
// variables multiplies, so that a short document could name billions.
constexpr size_t kMaxPaths = 10000;
constexpr size_t kMaxItems = 10000;

// What the names in one kind of access list mean; `group` answers for "abi.…" under an ABI.
struct Vocabulary {
  std::string_view what;
  std::optional<uint64_t> (*by_name)(std::string_view name);
  std::optional<uint64_t> (*group)(std::string_view name, int abi);
};

std::optional<uint64_t> FsRightByName(std::string_view name) {
  // Landlock's names only; the groups of the policy format are not part of this one.
  const std::optional<Rights> rights = RightsByName(name);
  if (!rights || !std::has_single_bit(*rights) || RightNames(*rights).front() != name) {
    return std::nullopt;
  }
  return rights;
}

std::optional<uint64_t> FsGroup(std::string_view name, int abi) {
  const Rights all = FsRightsOfAbi(abi);
  if (name == "abi.all") return all;
  if (name == "abi.read_execute") return all & (kRead | kExecute | abi::kFsRefer);
  if (name == "abi.read_write") return all & ~kExecute;
  return std::nullopt;
}

std::optional<uint64_t> NetGroup(std::string_view name, int abi) {
  if (name == "abi.all") return NetRightsOfAbi(abi);
  return std::nullopt;
}

std::optional<uint64_t> KernelScopeByName(std::string_view name) {
  if (name == "abstract_unix_socket") return abi::kScopeAbstractUnix;
  if (name == "signal") return abi::kScopeSignal;
  return std::nullopt;
}

std::optional<uint64_t> ScopeGroup(std::string_view name, int abi) {
  if (name == "abi.all") return ScopesOfAbi(abi);
  return std::nullopt;
}

constexpr Vocabulary kFsVocabulary = {"file system access", FsRightByName, FsGroup};
constexpr Vocabulary kNetVocabulary = {"network access", NetRightByName, NetGroup};
constexpr Vocabulary kScopeVocabulary = {"scope", KernelScopeByName, ScopeGroup};

Result<std::vector<JsonCursor>> NonEmptyItems(const JsonCursor& list) {
  Result<std::vector<JsonCursor>> items = list.Items(kMaxItems);
  if (items && items->empty()) return list.Fail("the array is empty; it needs at least one item");
  return items;
}

Result<uint64_t> ReadAccess(const JsonCursor& list, const Vocabulary& vocabulary, int abi) {
  Result<std::vector<JsonCursor>> items = NonEmptyItems(list);
  if (!items) return Forward(items);
  uint64_t access = 0;
  for (const JsonCursor& item : *items) {
    Result<std::string> name = item.String();
    if (!name) return Forward(name);
    if (const std::optional<uint64_t> right = vocabulary.by_name(*name)) {
      access |= *right;
    } else if (const std::optional<uint64_t> group = vocabulary.group(*name, abi)) {
      if (abi == 0) return item.Fail(Quoted(*name) + " needs the document's \"abi\"");
      access |= *group;
    } else {
      return item.Fail("unknown " + std::string(vocabulary.what) + " " + Quoted(*name));
    }
  }
  return access;
}

using Variables = std::map<std::string, std::vector<std::string>, std::less<>>;

bool IsVariableName(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !name.empty() && letter(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_'; });
}

Status ReadVariables(const JsonCursor& list, Variables* variables) {
  Result<std::vector<JsonCursor>> items = NonEmptyItems(list);
  if (!items) return Forward(items);
  for (const JsonCursor& item : *items) {
    if (Status only = item.Only({"name", "literal"}); !only) return only;
    if (!item.Has("name")) return item.Fail("a variable needs \"name\"");
    Result<std::string> name = item.At("name").String();
    if (!name) return Forward(name);
    if (!IsVariableName(*name)) {
      return item.At("name").Fail(Quoted(*name) +
                                  " is no variable name: a letter, then letters, digits and _");
    }
    std::vector<std::string>& literals = (*variables)[*name];
    if (!item.Has("literal")) continue;  // defined, and nothing yet
    Result<std::vector<JsonCursor>> values = NonEmptyItems(item.At("literal"));
    if (!values) return Forward(values);
    for (const JsonCursor& value : *values) {
      Result<std::string> literal = value.String();
      if (!literal) return Forward(literal);
      literals.push_back(std::move(*literal));
    }
  }
  return {};
}

// "${a}/lib" with each value of a; "$$" is a dollar, and so is a dollar before anything else.
Result<std::vector<std::string>> Expand(const JsonCursor& item, std::string_view text,
                                        const Variables& variables) {
  std::vector<std::string> expanded = {""};
  const auto append = [&](std::string_view literal) {
    for (std::string& path : expanded) path += literal;
  };
  while (!text.empty()) {
    const size_t dollar = std::min(text.find('$'), text.size());
    append(text.substr(0, dollar));
    text.remove_prefix(dollar);
    if (text.empty()) break;
    if (text.starts_with("${")) {
      const size_t close = text.find('}');
      if (close == std::string_view::npos) return item.Fail("a ${ without its }");
      const std::string_view name = text.substr(2, close - 2);
      if (!IsVariableName(name)) {
        return item.Fail(Quoted(name) + " is no variable name; a dollar is written $$");
      }
      const auto variable = variables.find(name);
      if (variable == variables.end()) {
        return item.Fail("variable " + Quoted(name) + " is not defined in \"variable\"");
      }
      const std::vector<std::string>& values = variable->second;
      if (expanded.size() * values.size() > kMaxPaths) {
        return item.Fail("the variables make more than 10000 paths");
      }
      std::vector<std::string> product;
      product.reserve(expanded.size() * values.size());
      for (const std::string& path : expanded) {
        for (const std::string& value : values) product.push_back(path + value);
      }
      expanded = std::move(product);
      text.remove_prefix(close + 1);
    } else {
      append("$");
      text.remove_prefix(text.starts_with("$$") ? 2 : 1);
    }
  }
  return expanded;
}

Status ReadRulesets(const JsonCursor& list, LandlockConfig* config) {
  Result<std::vector<JsonCursor>> items = NonEmptyItems(list);
  if (!items) return Forward(items);
  for (const JsonCursor& item : *items) {
    if (Status only = item.Only({"handledAccessFs", "handledAccessNet", "scoped"}); !only) {
      return only;
    }
    struct Part {
      std::string_view key;
      const Vocabulary& vocabulary;
      uint64_t& into;
    };
    bool any = false;
    for (const Part& part : {Part{"handledAccessFs", kFsVocabulary, config->handled_fs},
                             Part{"handledAccessNet", kNetVocabulary, config->handled_net},
                             Part{"scoped", kScopeVocabulary, config->scoped}}) {
      if (!item.Has(part.key)) continue;
      any = true;
      Result<uint64_t> access = ReadAccess(item.At(part.key), part.vocabulary, config->abi);
      if (!access) return Forward(access);
      part.into |= *access;
    }
    if (!any) return item.Fail("needs handledAccessFs, handledAccessNet or scoped");
  }
  return {};
}

// The rules of one document by what they name, so that each path and port has one rule and the
// order is the same for the same content.
using PathRights = std::map<std::string, Rights>;
using PortRights = std::map<uint16_t, uint64_t>;

Status ReadPaths(const JsonCursor& list, const Variables& variables, LandlockConfig* config,
                 PathRights* paths) {
  Result<std::vector<JsonCursor>> items = NonEmptyItems(list);
  if (!items) return Forward(items);
  for (const JsonCursor& item : *items) {
    if (Status only = item.Only({"allowedAccess", "parent"}); !only) return only;
    for (std::string_view key : {"allowedAccess", "parent"}) {
      if (!item.Has(key)) return item.Fail("needs \"" + std::string(key) + "\"");
    }
    Result<uint64_t> access = ReadAccess(item.At("allowedAccess"), kFsVocabulary, config->abi);
    if (!access) return Forward(access);
    config->handled_fs |= *access;  // even where a variable without literals leaves no path
    Result<std::vector<JsonCursor>> parents = NonEmptyItems(item.At("parent"));
    if (!parents) return Forward(parents);
    for (const JsonCursor& parent : *parents) {
      Result<std::string> text = parent.String();
      if (!text) return Forward(text);
      Result<std::vector<std::string>> expanded = Expand(parent, *text, variables);
      if (!expanded) return Forward(expanded);
      for (const std::string& path : *expanded) {
        const std::string clean = Clean(path);
        if (clean.empty()) return parent.Fail(Quoted(path) + " must be an absolute path");
        if (!IsCleanAbsolute(clean)) {
          return parent.Fail(Quoted(path) + " must have no \"..\" and fewer than 4096 bytes");
        }
        (*paths)[clean] |= *access;
        if (paths->size() > kMaxPaths)
          return parent.Fail("the document names more than 10000 paths");
      }
    }
  }
  return {};
}

Status ReadPorts(const JsonCursor& list, LandlockConfig* config, PortRights* ports) {
  Result<std::vector<JsonCursor>> items = NonEmptyItems(list);
  if (!items) return Forward(items);
  for (const JsonCursor& item : *items) {
    if (Status only = item.Only({"allowedAccess", "port"}); !only) return only;
    for (std::string_view key : {"allowedAccess", "port"}) {
      if (!item.Has(key)) return item.Fail("needs \"" + std::string(key) + "\"");
    }
    Result<uint64_t> access = ReadAccess(item.At("allowedAccess"), kNetVocabulary, config->abi);
    if (!access) return Forward(access);
    config->handled_net |= *access;
    Result<std::vector<JsonCursor>> numbers = NonEmptyItems(item.At("port"));
    if (!numbers) return Forward(numbers);
    for (const JsonCursor& number : *numbers) {
      Result<int64_t> port = number.Integer(0, 65535);
      if (!port) return Forward(port);
      (*ports)[static_cast<uint16_t>(*port)] |= *access;
    }
  }
  return {};
}

// A group may be empty under an old ABI; a rule that grants nothing would be refused by the kernel.
void PutRules(const PathRights& paths, const PortRights& ports, LandlockConfig* config) {
  for (const auto& [path, rights] : paths) {
    if (rights) config->paths.push_back({rights, path});
  }
  for (const auto& [port, rights] : ports) {
    if (rights) config->ports.push_back({rights, port});
  }
}

}  // namespace

Result<LandlockConfig> DecodeLandlockConfig(const JsonCursor& document) {
  if (Status only = document.Only({"abi", "variable", "ruleset", "pathBeneath", "netPort"});
      !only) {
    return Forward(only);
  }
  if (!document.Has("variable") && !document.Has("ruleset") && !document.Has("pathBeneath") &&
      !document.Has("netPort")) {
    return document.Fail("needs at least one of variable, ruleset, pathBeneath, netPort");
  }
  LandlockConfig config;
  config.origin = {document.file(), document.pointer()};
  if (document.Has("abi")) {
    Result<int64_t> abi = document.At("abi").Integer(1, std::numeric_limits<int32_t>::max());
    if (!abi) return Forward(abi);
    config.abi = static_cast<int>(*abi);
  }
  Variables variables;
  PathRights paths;
  PortRights ports;
  if (document.Has("variable")) {
    if (Status read = ReadVariables(document.At("variable"), &variables); !read) {
      return Forward(read);
    }
  }
  if (document.Has("ruleset")) {
    if (Status read = ReadRulesets(document.At("ruleset"), &config); !read) return Forward(read);
  }
  if (document.Has("pathBeneath")) {
    if (Status read = ReadPaths(document.At("pathBeneath"), variables, &config, &paths); !read) {
      return Forward(read);
    }
  }
  if (document.Has("netPort")) {
    if (Status read = ReadPorts(document.At("netPort"), &config, &ports); !read) {
      return Forward(read);
    }
  }
  PutRules(paths, ports, &config);
  return config;
}

LandlockConfig ComposeLandlockConfigs(const LandlockConfig& a, const LandlockConfig& b) {
  LandlockConfig composed;
  composed.abi = a.abi == 0 ? b.abi : b.abi == 0 ? a.abi : std::min(a.abi, b.abi);
  composed.handled_fs = a.handled_fs & b.handled_fs;
  composed.handled_net = a.handled_net & b.handled_net;
  composed.scoped = a.scoped & b.scoped;
  composed.origin = a.origin;
  PathRights paths;
  PortRights ports;
  for (const LandlockConfig* part : {&a, &b}) {
    for (const LandlockConfig::Path& rule : part->paths) {
      if (const Rights kept = rule.rights & composed.handled_fs) paths[rule.path] |= kept;
    }
    for (const LandlockConfig::Port& rule : part->ports) {
      if (const uint64_t kept = rule.rights & composed.handled_net) ports[rule.port] |= kept;
    }
  }
  PutRules(paths, ports, &composed);
  return composed;
}

}  // namespace landgate::policy
