// memcpy, memmove, memset and memcmp for the short strings that these programs are made of: musl's
// x86 ones start a microcoded `rep` for the shortest, and were half of what prestart computed.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace {

template <class Word>
Word Load(const void* from) {
  Word word;
  __builtin_memcpy(&word, from, sizeof word);
  return word;
}
template <class Word>
void Store(void* to, Word word) {
  __builtin_memcpy(to, &word, sizeof word);
}

using Block = uint64_t __attribute__((vector_size(16)));

const char* At(const void* base, size_t offset) { return static_cast<const char*>(base) + offset; }
char* At(void* base, size_t offset) { return static_cast<char*>(base) + offset; }

// The first and the last word, which overlap where the size is between: both are read before the
// first is written, so that ranges may overlap, too.
template <class Word>
void MoveTwo(void* to, const void* from, size_t size) {
  const Word first = Load<Word>(from);
  const Word last = Load<Word>(At(from, size - sizeof(Word)));
  Store(to, first);
  Store(At(to, size - sizeof(Word)), last);
}

// Up to two blocks.
void MoveShort(void* to, const void* from, size_t size) {
  if (size >= sizeof(Block)) return MoveTwo<Block>(to, from, size);
  if (size >= 8) return MoveTwo<uint64_t>(to, from, size);
  if (size >= 4) return MoveTwo<uint32_t>(to, from, size);
  if (size >= 2) return MoveTwo<uint16_t>(to, from, size);
  if (size == 1) *static_cast<char*>(to) = *static_cast<const char*>(from);
}

}  // namespace

extern "C" {

void* memmove(void* to, const void* from, size_t size) {
  if (size <= 2 * sizeof(Block)) {
    MoveShort(to, from, size);
    return to;
  }
  const Block first = Load<Block>(from);
  const Block last = Load<Block>(At(from, size - sizeof(Block)));
  if (reinterpret_cast<uintptr_t>(to) - reinterpret_cast<uintptr_t>(from) >= size) {
    for (size_t i = sizeof(Block); i < size - sizeof(Block); i += sizeof(Block)) {
      Store(At(to, i), Load<Block>(At(from, i)));
    }
  } else {
    for (size_t i = size - sizeof(Block); i > sizeof(Block);) {
      i -= sizeof(Block);
      Store(At(to, i), Load<Block>(At(from, i)));
    }
  }
  Store(to, first);
  Store(At(to, size - sizeof(Block)), last);
  return to;
}

void* memcpy(void* to, const void* from, size_t size) { return memmove(to, from, size); }

void* memset(void* to, int value, size_t size) {
  const uint64_t word = 0x0101010101010101U * static_cast<unsigned char>(value);
  size_t i = 0;
  for (; i + sizeof word <= size; i += sizeof word) Store(At(to, i), word);
  for (; i < size; ++i) *At(to, i) = static_cast<char>(value);
  return to;
}

int memcmp(const void* a, const void* b, size_t size) {
  size_t i = 0;
  while (i + sizeof(uint64_t) <= size && Load<uint64_t>(At(a, i)) == Load<uint64_t>(At(b, i))) {
    i += sizeof(uint64_t);
  }
  for (; i < size; ++i) {
    const int difference = Load<unsigned char>(At(a, i)) - Load<unsigned char>(At(b, i));
    if (difference != 0) return difference;
  }
  return 0;
}
}
