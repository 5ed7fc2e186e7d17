// landlock-only PATH… -- PROGRAM ARGS…: grants read and execute beneath each PATH with Landlock and
// nothing else, then executes PROGRAM. What the floor's cost per open is compared with.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  struct {
    uint64_t fs, net, scoped;
  } attributes{0xffff & ~0U, 0, 0};  // all rights up to ABI 5, as a `paths` section handles
  const int ruleset = static_cast<int>(syscall(444, &attributes, sizeof attributes, 0));
  int i = 1;
  for (; i < argc && std::strcmp(argv[i], "--") != 0; ++i) {
    struct __attribute__((packed)) {
      uint64_t allowed;
      int32_t parent;
    } rule{0xd, open(argv[i], O_PATH | O_CLOEXEC)};  // EXECUTE, READ_FILE, READ_DIR
    if (rule.parent < 0 || syscall(445, ruleset, 1, &rule, 0) != 0) return 1;
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(446, ruleset, 0) != 0) {
    std::perror("landlock-only");
    return 1;
  }
  close(ruleset);
  execv(argv[i + 1], argv + i + 1);
  return 127;
}
