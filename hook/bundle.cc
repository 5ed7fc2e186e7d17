#include "hook/bundle.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/files.h"
#include "base/paths.h"

namespace landgate::hook {

Result<std::string> ResolveBundle(const std::string& directory) {
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(directory.c_str(), nullptr), free);
  if (!resolved) return SystemError("bundle " + directory, errno);
  return std::string(resolved.get());
}

Result<Prepared> PatchBundle(const node::Config& config, const Request& request) {
  const std::string file = Join(request.bundle, "config.json");
  Result<std::string> text = ReadFile(file);
  if (!text) return Forward(text);
  Result<Prepared> prepared = Prepare(config, request, *text, file);
  if (!prepared || !prepared->patched.changed) return prepared;

  struct stat st;
  if (stat(file.c_str(), &st) < 0) return SystemError(file, errno);
  if (Status ok = WriteFileAtomically(file, prepared->patched.text, st.st_mode & 07777); !ok) {
    return Forward(ok);
  }
  if ((st.st_uid != geteuid() || st.st_gid != getegid()) &&
      chown(file.c_str(), st.st_uid, st.st_gid) < 0) {
    return SystemError(file, errno);
  }
  return prepared;
}

}  // namespace landgate::hook
