// What code without exceptions calls of a C++ library, and system calls that musl lacks.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bit>
#include <chrono>
#include <memory>
#include <new>
#include <stdexcept>

namespace {

// These programs live for a millisecond: pieces are cut from one area and kept in a list per size
// when they are given back, which costs a tenth of malloc, and no mmap for each buffer that grows.
constexpr size_t kStep = 16;
constexpr size_t kSmall = 512;  // multiples of kStep up to here, powers of two above
constexpr size_t kLargest = size_t{64} << 10;
constexpr size_t kClasses = kSmall / kStep + 7;
constexpr size_t kAreaBytes = size_t{256} << 10;

struct Piece {
  Piece* next;
};
Piece* free_pieces[kClasses];
alignas(kStep) char first_area[kAreaBytes];  // of which only what is used becomes memory
char* area = first_area;
size_t area_left = sizeof first_area;

[[noreturn]] void Die(const char* what) {
  // As an exception that nobody catches ends a program, but without the machinery.
  const char prefix[] = "landgate: ";
  (void)!write(STDERR_FILENO, prefix, sizeof prefix - 1);
  size_t length = 0;
  while (what[length] != '\0') ++length;
  (void)!write(STDERR_FILENO, what, length);
  (void)!write(STDERR_FILENO, "\n", 1);
  abort();
}

size_t ClassOf(size_t size) {
  if (size <= kSmall) return size == 0 ? 0 : (size - 1) / kStep;
  return kSmall / kStep - 1 + static_cast<size_t>(std::bit_width((size - 1) / kSmall));
}

size_t BytesOf(size_t index) {
  constexpr size_t kSmallClasses = kSmall / kStep;
  return index < kSmallClasses ? (index + 1) * kStep : kSmall << (index - kSmallClasses + 1);
}

void* Allocate(size_t size) {
  if (size > kLargest) {
    void* const big = malloc(size);
    if (!big) Die("out of memory");
    return big;
  }
  const size_t index = ClassOf(size);
  if (Piece* const piece = free_pieces[index]) {
    free_pieces[index] = piece->next;
    return piece;
  }
  const size_t bytes = BytesOf(index);
  if (area_left < bytes) {
    area = static_cast<char*>(malloc(kAreaBytes));
    if (!area) Die("out of memory");
    area_left = kAreaBytes;
  }
  void* const piece = area;
  area += bytes;
  area_left -= bytes;
  return piece;
}

void Free(void* at, size_t size) {
  if (!at) return;
  if (size > kLargest) {
    free(at);
    return;
  }
  const size_t index = ClassOf(size);
  Piece* const piece = static_cast<Piece*>(at);
  piece->next = free_pieces[index];
  free_pieces[index] = piece;
}

}  // namespace

void* operator new(size_t size) { return Allocate(size); }
void* operator new[](size_t size) { return Allocate(size); }
// Those without a size are left out on purpose, so that a link fails that needs one: a piece does
// not know its own.
#pragma GCC diagnostic ignored "-Wsized-deallocation"
void operator delete(void* at, size_t size) noexcept { Free(at, size); }
void operator delete[](void* at, size_t size) noexcept { Free(at, size); }

const std::nothrow_t std::nothrow;
void* operator new(size_t size, const std::nothrow_t&) noexcept { return Allocate(size); }

namespace std {

chrono::steady_clock::time_point chrono::steady_clock::now() noexcept {
  timespec now{};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);  // this clock is always there
  return time_point(chrono::seconds(now.tv_sec) + chrono::nanoseconds(now.tv_nsec));
}

void __throw_bad_alloc() { Die("out of memory"); }
void __throw_bad_array_new_length() { Die("out of memory"); }
void __throw_bad_function_call() { Die("an empty function was called"); }
void __throw_invalid_argument(const char* what) { Die(what); }
void __throw_length_error(const char* what) { Die(what); }
void __throw_logic_error(const char* what) { Die(what); }
void __throw_out_of_range(const char* what) { Die(what); }
void __throw_out_of_range_fmt(const char* format, ...) { Die(format); }

// nlohmann's exceptions hold one: its SAX parser makes a parse_error that it never throws, whose
// text is what we tell the user.
runtime_error::runtime_error(const char* what) {
  const size_t size = strlen(what) + 1;
  _M_msg._M_p = static_cast<const char*>(memcpy(Allocate(size), what, size));
}
runtime_error::~runtime_error() noexcept {
  Free(const_cast<char*>(_M_msg._M_p), strlen(_M_msg._M_p) + 1);
}
const char* runtime_error::what() const noexcept { return _M_msg._M_p; }
exception::~exception() noexcept {}
const char* exception::what() const noexcept { return ""; }
__cow_string::__cow_string() : _M_p(nullptr) {}
__cow_string::~__cow_string() {}

bool _Sp_make_shared_tag::_S_eq(const type_info&) noexcept { return false; }  // a tag with RTTI

}  // namespace std

extern "C" {

// Of static destructors, which these programs never run: they leave by _exit or return of main.
__attribute__((visibility("hidden"))) void* __dso_handle = nullptr;

void __cxa_pure_virtual() { Die("a pure virtual function was called"); }

// libcap.a and libseccomp.a call the checked functions of glibc, where they print.
int __fprintf_chk(FILE* file, int, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = vfprintf(file, format, arguments);
  va_end(arguments);
  return written;
}

int statx(int directory, const char* path, int flags, unsigned mask, struct statx* result) {
  return static_cast<int>(syscall(SYS_statx, directory, path, flags, mask, result));
}

int close_range(unsigned first, unsigned last, int flags) {
  return static_cast<int>(syscall(SYS_close_range, first, last, flags));
}
}
