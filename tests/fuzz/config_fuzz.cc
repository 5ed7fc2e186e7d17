// fuzz: oci_specs
// config.json from an engine: no input may crash, a second patch changes nothing, and what
// ReadConfig calls patched is what PatchConfig made.
#include <cstdint>
#include <cstdlib>

#include "oci-specs/annotations.h"
#include "oci-specs/config_patch.h"
#include "oci-specs/seccomp_profile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using landgate::oci::PatchConfig;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  landgate::oci::PatchRequest request;
  request.launcher_source = "/l";
  request.plan_source = "/p";
  request.prestart = {{"/h", {"landgate-hook", "prestart"}, {"A=b"}}};
  request.poststop = {{"/h", {"landgate-hook", "poststop"}, {}}};
  request.keep = 5;
  request.masked_paths = {"/proc/kcore"};
  request.readonly_paths = {"/proc/sys"};
  for (const bool listens : {false, true}) {
    if (listens) {
      request.listener =
          landgate::oci::Listener{"/s", "m", {landgate::oci::kExecRefusalSyscall, "open"}};
    }
    const auto once = PatchConfig(text, "config.json", request);
    if (!once) continue;
    const auto twice = PatchConfig(once->text, "config.json", request);
    if (!twice || twice->changed || twice->text != once->text ||
        twice->opened_syscalls != once->opened_syscalls) {
      abort();
    }
  }
  if (const auto view = landgate::oci::ReadConfig(text, "config.json")) {
    (void)landgate::oci::ReadAnnotations(view->annotations);  // any answer will do
  }
  return 0;
}
