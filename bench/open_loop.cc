// open-loop FILE COUNT: opens and closes FILE COUNT times; prints nanoseconds for one pair.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const long count = std::strtol(argv[2], nullptr, 10);
  const auto open_and_close = [&] {
    const int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0) std::exit(1);
    close(fd);
  };
  for (long i = 0; i < count / 10; ++i) open_and_close();  // warm caches
  timespec before{};
  timespec after{};
  clock_gettime(CLOCK_MONOTONIC, &before);
  for (long i = 0; i < count; ++i) open_and_close();
  clock_gettime(CLOCK_MONOTONIC, &after);
  const double nanoseconds = static_cast<double>(after.tv_sec - before.tv_sec) * 1e9 +
                             static_cast<double>(after.tv_nsec - before.tv_nsec);
  std::printf("%.1f\n", nanoseconds / static_cast<double>(count));
  return 0;
}
