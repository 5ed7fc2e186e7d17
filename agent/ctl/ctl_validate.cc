#include "agent/ctl/ctl_validate.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/paths.h"
#include "node/policies.h"
#include "policy/document_json.h"
#include "policy/json_reader.h"
#include "policy/merge.h"

namespace landgate::ctl {
namespace {

using policy::Finding;
using policy::Json;
using policy::Severity;

// Each one costs another decoding of the document.
constexpr size_t kMostMistakes = 200;

size_t Count(const std::vector<Finding>& findings, Severity severity) {
  return static_cast<size_t>(
      std::count_if(findings.begin(), findings.end(),
                    [severity](const Finding& finding) { return finding.severity == severity; }));
}

// "FILE: /pointer: message" and "FILE:LINE:COLUMN: message" taken apart again.
Finding FromError(const Error& error, const std::string& file) {
  Finding finding{Severity::kRefusal, {file, ""}, error.message};
  std::string_view rest = error.message;
  if (!rest.starts_with(file + ":")) return finding;
  rest.remove_prefix(file.size() + 1);
  if (rest.starts_with(" ")) {
    rest.remove_prefix(1);
  } else {
    const size_t colon = rest.find(':');
    const size_t end = rest.find(": ");
    if (colon == std::string_view::npos || end == std::string_view::npos || colon >= end)
      return finding;
    finding.message = "line " + std::string(rest.substr(0, colon)) + ", column " +
                      std::string(rest.substr(colon + 1, end - colon - 1)) + ": " +
                      std::string(rest.substr(end + 2));
    return finding;
  }
  const size_t end = rest.find(": ");
  if (rest.starts_with("/") && end != std::string_view::npos) {
    finding.origin.pointer = rest.substr(0, end);
    rest.remove_prefix(end + 2);
  }
  finding.message = rest;
  return finding;
}

std::vector<std::string> PointerTokens(std::string_view pointer) {
  std::vector<std::string> tokens;
  for (size_t i = 0; i < pointer.size(); ++i) {
    if (pointer[i] == '/') {
      tokens.emplace_back();
    } else if (pointer[i] == '~' && i + 1 < pointer.size()) {
      tokens.back() += pointer[++i] == '1' ? '/' : '~';
    } else if (!tokens.empty()) {
      tokens.back() += pointer[i];
    }
  }
  return tokens;
}

std::optional<size_t> Index(const std::string& token) {
  if (token.empty() || token.size() > 6) return std::nullopt;
  size_t value = 0;
  for (const char c : token) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<size_t>(c - '0');
  }
  return value;
}

// The document with what was found wrong taken out, and where each remaining entry of its lists
// stood in the original.
class Remainder {
 public:
  explicit Remainder(Json document) : document_(std::move(document)) {
    for (const auto& [key, value] : *document_.get_ptr<Json::object_t*>()) {
      if (!value.is_array()) continue;
      std::vector<size_t>& places = places_[key];
      for (size_t i = 0; i < value.size(); ++i) places.push_back(i);
    }
  }

  std::string text() const {
    return document_.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  // `pointer` of the remainder as a pointer into the original.
  std::string Original(const std::string& pointer) const {
    std::vector<std::string> tokens = PointerTokens(pointer);
    if (tokens.size() < 2) return pointer;
    const auto places = places_.find(tokens[0]);
    const std::optional<size_t> index = Index(tokens[1]);
    if (places == places_.end() || !index || *index >= places->second.size()) return pointer;
    const size_t skipped = 2 + tokens[0].size() + tokens[1].size();
    return "/" + tokens[0] + "/" + std::to_string(places->second[*index]) +
           (pointer.size() > skipped ? pointer.substr(skipped) : "");
  }

  // Takes out an unknown key alone; of other mistakes the list entry or the section around them,
  // because half a rule would only make the decoder complain about what is missing. False where
  // nothing fits.
  bool TakeOut(const Finding& finding) {
    const std::vector<std::string> tokens = PointerTokens(finding.origin.pointer);
    if (tokens.empty()) return false;
    if (finding.message.starts_with("unknown key")) return EraseKey(tokens);
    const auto section = document_.find(tokens[0]);
    if (section == document_.end() || tokens[0] == "landgate") return false;
    const std::optional<size_t> index = tokens.size() > 1 ? Index(tokens[1]) : std::nullopt;
    if (section->is_array() && index && *index < section->size() && section->size() > 1) {
      section->erase(*index);
      std::vector<size_t>& places = places_[tokens[0]];
      places.erase(places.begin() + static_cast<std::ptrdiff_t>(*index));
      return true;
    }
    document_.erase(tokens[0]);
    return true;
  }

 private:
  bool EraseKey(const std::vector<std::string>& tokens) {
    Json* at = &document_;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const std::optional<size_t> index = Index(tokens[i]);
      if (at->is_array() && index && *index < at->size()) {
        at = &(*at)[*index];
      } else if (at->is_object() && at->contains(tokens[i])) {
        at = &(*at)[tokens[i]];
      } else {
        return false;
      }
    }
    return at->is_object() && at->erase(tokens.back()) > 0;
  }

  Json document_;
  std::map<std::string, std::vector<size_t>> places_;
};

Result<std::string> ReadDocument(const std::string& file) {
  if (file != "-") return ReadFile(file);
  Result<std::string> text = ReadAll(BorrowedFd(STDIN_FILENO));
  if (!text) return Context("standard input", text);
  return text;
}

std::string NameOf(const std::string& file) {
  std::string name = file.substr(file.rfind('/') + 1);
  if (name.ends_with(".json")) name.resize(name.size() - 5);
  return name;
}

// The documents that `extends` names: beside the file first, then in the node's directories.
policy::PolicyLookup Lookup(const node::Config& config, const std::string& file) {
  std::vector<std::string> directories;
  const size_t slash = file.rfind('/');
  if (file != "-") directories.push_back(slash == std::string::npos ? "." : file.substr(0, slash));
  directories.insert(directories.end(), config.policy_dirs.begin(), config.policy_dirs.end());
  return [directories](const std::string& name) -> Result<policy::Policy> {
    std::string looked_in;
    for (const std::string& directory : directories) {
      const std::string candidate = directory + "/" + name + ".json";
      Result<std::string> text = ReadFile(candidate);
      if (text) return policy::DecodePolicy(*text, name, candidate);
      if (text.error().error_number != ENOENT) return Forward(text);
      looked_in += (looked_in.empty() ? "" : ", ") + directory;
    }
    return Refuse("policy " + name + " was not found in " + looked_in);
  };
}

}  // namespace

size_t Validated::refusals() const { return Count(findings, Severity::kRefusal); }
size_t Validated::warnings() const { return Count(findings, Severity::kWarning); }

std::vector<Finding> DecodeFindings(std::string_view text, const std::string& name,
                                    const std::string& file) {
  std::vector<Finding> findings;
  Result<policy::Policy> decoded = policy::DecodePolicy(text, name, file);
  if (decoded) return findings;
  findings.push_back(FromError(decoded.error(), file));
  Result<Json> document = policy::ParseJson(text, file, policy::Comments::kAllowed);
  if (!document || !document->is_object()) return findings;

  Remainder remainder(std::move(*document));
  Finding last = findings.back();
  while (findings.size() < kMostMistakes && remainder.TakeOut(last)) {
    decoded = policy::DecodePolicy(remainder.text(), name, file);
    if (decoded) break;
    last = FromError(decoded.error(), file);
    Finding shown = last;
    shown.origin.pointer = remainder.Original(last.origin.pointer);
    findings.push_back(std::move(shown));
  }
  if (findings.size() == kMostMistakes)
    findings.push_back({Severity::kRefusal, {file, ""}, "there may be more; mend these first"});
  return findings;
}

Validated ValidateFile(const node::Config& config, const std::string& file) {
  Validated validated{file == "-" ? "(standard input)" : file, {}};
  const auto refuse = [&validated](const Error& error) {
    validated.findings.push_back(FromError(error, validated.file));
    return validated;
  };
  Result<std::string> text = ReadDocument(file);
  if (!text && text.error().error_number == ENOENT && node::IsPolicyName(file)) {
    return refuse(Error{"no such file, and no policy of this name (see landgatectl policy list)"});
  }
  if (!text) return refuse(text.error());
  const std::string name = file == "-" ? "stdin" : NameOf(file);
  validated.findings = DecodeFindings(*text, name, validated.file);
  if (!validated.findings.empty()) return validated;

  Result<policy::Policy> decoded = policy::DecodePolicy(*text, name, validated.file);
  if (!decoded) return refuse(decoded.error());
  Result<policy::Policy> merged = policy::ResolveExtends(*decoded, Lookup(config, file));
  if (!merged) return refuse(merged.error());
  validated.findings = policy::Examine(*merged);
  if (validated.refusals() > 0 || file == "-") return validated;
  // The node's own loader has the last word: it also looks at who can write the file, and adds the
  // node's protected paths.
  if (Result<policy::Policy> loaded = node::LoadPolicyFile(config, file); !loaded)
    return refuse(loaded.error());
  return validated;
}

}  // namespace landgate::ctl
