#include "agent/notify/memory.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "agent/notify/read_watch.h"

namespace landgate::agent {
namespace {

constexpr size_t kPage = 4096;

uint64_t Address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

// Another process with a copy of this one's memory, so that addresses are the same.
class Twin {
 public:
  explicit Twin(void (*prepare)() = nullptr) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (prepare != nullptr) prepare();
      if (write(ends[1], "r", 1) != 1) _exit(1);
      for (;;) pause();
    }
    close(ends[1]);
    char ready;
    EXPECT_EQ(read(ends[0], &ready, 1), 1);
    close(ends[0]);
  }
  ~Twin() {
    if (pid_ > 0) (void)kill(pid_, SIGKILL);
    Reap();
  }
  Twin(const Twin&) = delete;
  Twin& operator=(const Twin&) = delete;
  void End() {
    (void)kill(pid_, SIGKILL);
    Reap();
  }
  // Dead but not waited for: a zombie has no memory.
  void BecomeZombie() {
    (void)kill(pid_, SIGKILL);
    siginfo_t info{};
    EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT), 0);
  }
  pid_t pid() const { return pid_; }

 private:
  void Reap() {
    if (pid_ > 0) (void)waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid_ = -1;
};

// Two pages, the second of which may be forbidden, with nothing behind them.
class Pages {
 public:
  explicit Pages(int second_page_protection = PROT_READ | PROT_WRITE) {
    at_ = static_cast<char*>(
        mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(at_, MAP_FAILED);
    memset(at_, 'x', 2 * kPage);
    EXPECT_EQ(munmap(at_ + 2 * kPage, kPage), 0);
    EXPECT_EQ(mprotect(at_ + kPage, kPage, second_page_protection), 0);
  }
  ~Pages() { (void)munmap(at_, 2 * kPage); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  // So that it ends right before the boundary of the pages, or that many bytes beyond.
  char* Put(const std::string& text, size_t beyond = 0) {
    char* const at = at_ + kPage + beyond - text.size() - 1;
    memcpy(at, text.c_str(), text.size() + 1);
    return at;
  }
  char* end() { return at_ + 2 * kPage; }
  char* boundary() { return at_ + kPage; }

 private:
  char* at_;
};

TEST(Memory, ReadsAStringThatEndsWithItsPage) {
  Pages pages(PROT_NONE);
  const char* at = pages.Put("/etc/passwd");
  const Twin twin;
  std::array<char, 4096> buffer;
  const auto text = ReadString(twin.pid(), Address(at), buffer);
  ASSERT_TRUE(text) << "the forbidden page behind it is nobody's business";
  EXPECT_EQ(*text, "/etc/passwd");
  EXPECT_EQ(text->data(), buffer.data());
}

TEST(Memory, ReadsAStringAcrossPages) {
  Pages pages;
  const char* at = pages.Put("/a/path/across", 5);
  const Twin twin;
  std::array<char, 4096> buffer;
  const auto text = ReadString(twin.pid(), Address(at), buffer);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, "/a/path/across");
}

TEST(Memory, AStringThatRunsIntoNothingIsABadAddress) {
  Pages pages(PROT_NONE);
  char* const at = pages.boundary() - 4;
  memcpy(at, "abcd", 4);
  const Twin twin;
  std::array<char, 4096> buffer;
  const auto text = ReadString(twin.pid(), Address(at), buffer);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error(), MemoryFault::kBadAddress);
  EXPECT_EQ(ErrnoOf(text.error()), EFAULT);
}

TEST(Memory, TheLimitCountsTheNul) {
  Pages pages;
  const char* at = pages.Put("12345678", 3);
  const Twin twin;
  std::array<char, 9> enough;
  EXPECT_EQ(ReadString(twin.pid(), Address(at), enough).value_or(""), "12345678");
  std::array<char, 8> short_of_one;
  const auto text = ReadString(twin.pid(), Address(at), short_of_one);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error(), MemoryFault::kTooLong);
  EXPECT_EQ(ErrnoOf(text.error()), ENAMETOOLONG);
}

TEST(Memory, NonsenseAddresses) {
  const Twin twin;
  std::array<char, 64> buffer;
  for (const uint64_t address :
       {uint64_t{0}, uint64_t{1}, uint64_t{4096}, ~uint64_t{0}, ~uint64_t{0} - 10,
        uint64_t{1} << 63, uint64_t{0xffff800000000000}, (uint64_t{1} << 47) - 1}) {
    const auto text = ReadString(twin.pid(), address, buffer);
    ASSERT_FALSE(text) << std::hex << address;
    EXPECT_EQ(text.error(), MemoryFault::kBadAddress) << std::hex << address;
    std::array<std::byte, 64> bytes;
    const auto read = ReadBytes(twin.pid(), address, bytes);
    ASSERT_FALSE(read) << std::hex << address;
    EXPECT_EQ(read.error(), MemoryFault::kBadAddress) << std::hex << address;
    EXPECT_FALSE(WriteBytes(twin.pid(), address, "x")) << std::hex << address;
  }
}

TEST(Memory, BytesAreReadWhollyOrNotAtAll) {
  Pages pages;
  std::array<std::byte, 32> bytes;
  const Twin twin;
  EXPECT_TRUE(ReadBytes(twin.pid(), Address(pages.end() - 32), bytes));
  EXPECT_EQ(bytes.back(), std::byte{'x'});
  const auto over_the_end = ReadBytes(twin.pid(), Address(pages.end() - 31), bytes);
  ASSERT_FALSE(over_the_end);
  EXPECT_EQ(over_the_end.error(), MemoryFault::kBadAddress);
  EXPECT_TRUE(ReadBytes(twin.pid(), 0, {})) << "nothing is anywhere";
}

TEST(Memory, AProcessThatHasEnded) {
  Pages pages;
  const char* at = pages.Put("text");
  std::array<char, 64> buffer;
  Twin twin;
  const pid_t pid = twin.pid();
  twin.BecomeZombie();
  EXPECT_EQ(ReadString(pid, Address(at), buffer).error(), MemoryFault::kGone);
  EXPECT_FALSE(WriteBytes(pid, Address(at), "x"));
  twin.End();
  EXPECT_EQ(ReadString(pid, Address(at), buffer).error(), MemoryFault::kGone);
  EXPECT_EQ(WriteBytes(pid, Address(at), "x").error(), MemoryFault::kGone);
}

// An agent without CAP_SYS_PTRACE over the process: rootless, and a program that is not dumpable.
TEST(Memory, MemoryThatMayNotBeReadIsForbidden) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  Pages pages;
  const char* at = pages.Put("secret");
  const Twin twin([] {
    if (setresuid(65534, 65534, 65534) != 0) _exit(1);
    (void)prctl(PR_SET_DUMPABLE, 0);
  });
  const pid_t reader = fork();
  if (reader == 0) {
    if (setresuid(65534, 65534, 65534) != 0) _exit(1);
    std::array<char, 64> buffer;
    const auto text = ReadString(twin.pid(), Address(at), buffer);
    if (text || text.error() != MemoryFault::kForbidden) _exit(2);
    if (ErrnoOf(text.error()) != EACCES) _exit(3);
    const auto written = WriteBytes(twin.pid(), Address(at), "x");
    _exit(!written && written.error() == MemoryFault::kForbidden ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(reader, &status, 0), reader);
  EXPECT_EQ(status, 0);
}

TEST(Memory, WritesWhatIsReadBack) {
  Pages pages;
  char* const at = pages.Put("/usr/bin/true", 4);
  const Twin twin;
  EXPECT_TRUE(WriteBytes(twin.pid(), Address(at), std::string_view("/dev/lg\0", 8)));
  std::array<char, 64> buffer;
  EXPECT_EQ(ReadString(twin.pid(), Address(at), buffer).value_or(""), "/dev/lg");
  EXPECT_STREQ(at, "/usr/bin/true") << "the twin's memory alone";
  // Go keeps its strings in pages it can't write itself.
  EXPECT_TRUE(WriteBytes(twin.pid(), Address("a literal"), "A"));
  EXPECT_FALSE(WriteBytes(twin.pid(), Address(pages.end() - 1), "xy")) << "all or nothing";
}

TEST(Memory, AThreadsIdWillDo) {
  std::array<char, 16> buffer;
  static const char text[] = "a thread's";
  std::promise<pid_t> started;
  std::promise<void> done;
  std::thread other([&] {
    started.set_value(gettid());
    done.get_future().wait();
  });
  const pid_t thread = started.get_future().get();
  EXPECT_NE(thread, getpid());
  EXPECT_EQ(ReadString(thread, Address(text), buffer).value_or(""), "a thread's");
  done.set_value();
  other.join();
}

// For every string, place and limit: what the kernel's own strncpy_from_user would have seen.
TEST(Memory, AgreesWithTheKernelsReadingOfStrings) {
  auto* const shared = static_cast<char*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(shared, MAP_FAILED);
  const Twin twin;
  rc::check([&] {
    const auto length = *rc::gen::inRange<size_t>(0, 600);
    const auto offset = *rc::gen::inRange<size_t>(kPage - 700, 2 * kPage);
    const auto limit = *rc::gen::inRange<size_t>(1, 700);
    const auto terminated = *rc::gen::arbitrary<bool>();
    memset(shared, 'z', 2 * kPage);
    const size_t end = offset + length;
    if (terminated && end < 2 * kPage) shared[end] = '\0';
    std::vector<char> buffer(limit);
    const auto text = ReadString(twin.pid(), Address(shared + offset), buffer);
    const bool there = terminated && end < 2 * kPage;
    if (there && length < limit) {
      RC_ASSERT(text.has_value());
      RC_ASSERT(text->size() == length);
    } else {
      RC_ASSERT(!text);
      const bool full = offset + limit <= 2 * kPage;
      // The mapping may go on behind: whatever is there is not our page.
      if (full) RC_ASSERT(text.error() == MemoryFault::kTooLong);
    }
  });
  (void)munmap(shared, 2 * kPage);
}

// --- the deadline's side of the reader

class Recorder final : public ReadWatch {
 public:
  Recorder() { read_watch = this; }
  ~Recorder() { read_watch = nullptr; }
  bool BeginRead() override {
    ++begun;
    return may_begin;
  }
  bool EndRead() override {
    ++ended;
    return in_time;
  }
  int begun = 0, ended = 0;
  bool may_begin = true, in_time = true;
};

TEST(Memory, EveryReadIsToldOnce) {
  Pages pages;
  const char* at = pages.Put("/across", 3);
  std::array<char, 64> buffer;
  Recorder recorder;
  EXPECT_TRUE(ReadString(getpid(), Address(at), buffer));
  EXPECT_EQ(recorder.begun, 1);
  EXPECT_EQ(recorder.ended, 1);
  EXPECT_FALSE(ReadString(getpid(), 1, buffer));
  EXPECT_EQ(recorder.begun, 2);
  EXPECT_EQ(recorder.ended, 2) << "a failed one ends too";
}

TEST(Memory, NothingIsReadThatCannotBeWatched) {
  std::array<char, 64> buffer{};
  Recorder recorder;
  recorder.may_begin = false;
  EXPECT_EQ(ReadString(getpid(), Address("text"), buffer).error(), MemoryFault::kForbidden);
  EXPECT_EQ(buffer[0], '\0');
}

TEST(Memory, WhatCameTooLateIsNotUsed) {
  std::array<char, 64> buffer;
  Recorder recorder;
  recorder.in_time = false;
  EXPECT_EQ(ReadString(getpid(), Address("text"), buffer).error(), MemoryFault::kForbidden);
}

}  // namespace
}  // namespace landgate::agent
