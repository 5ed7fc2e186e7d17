// Runs what can't be undone in a forked child.
#ifndef LANDGATE_TESTS_INTEGRATION_SANDBOX_IN_CHILD_H_
#define LANDGATE_TESTS_INTEGRATION_SANDBOX_IN_CHILD_H_

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

namespace landgate {

// The text that `body` returns in the child, where "" means that all was well. A child that dies
// otherwise gives a text that says so.
inline std::string InChild(const std::function<std::string()>& body) {
  int ends[2];
  if (pipe(ends) < 0) return "pipe failed";
  const pid_t child = fork();
  if (child < 0) return "fork failed";
  if (child == 0) {
    close(ends[0]);
    const std::string text = body();
    const ssize_t written = write(ends[1], text.data(), text.size());
    _exit(written == static_cast<ssize_t>(text.size()) ? 0 : 70);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    text += " [child ended with wait status " + std::to_string(status) + "]";
  }
  return text;
}

}  // namespace landgate

#endif  // LANDGATE_TESTS_INTEGRATION_SANDBOX_IN_CHILD_H_
