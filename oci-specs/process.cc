#include "oci-specs/process.h"

#include "oci-specs/json_text.h"
#include "oci-specs/launch_prefix.h"

namespace landgate::oci {

Result<std::string> PatchProcess(std::string_view process_json, std::string_view file,
                                 std::optional<CapabilitySet> keep) {
  Result<JsonText> document = JsonText::Parse(process_json, file);
  if (!document) return Forward(document);
  JsonNode& process = document->root();
  if (!process.IsObject()) return document->Fail("/", "must be an object");
  if (Status ok = RefuseLookalikes(*document, process, "", {"args", "capabilities"}); !ok) {
    return Forward(ok);
  }
  if (Status ok = PutLauncherInFront(*document, process, "", "exec"); !ok) return Forward(ok);
  if (keep) {
    if (Status ok = ReduceCapabilities(*document, process, "", *keep); !ok) return Forward(ok);
  }
  return document->Write();
}

}  // namespace landgate::oci
