#include "sandbox/command_line.h"

namespace landgate::sandbox {
namespace {

constexpr std::string_view kMagic = "LGX1";
constexpr size_t kHeaderBytes = 12;

void PutCount(std::string* bytes, size_t count) {
  for (int shift = 0; shift < 32; shift += 8) {
    bytes->push_back(static_cast<char>(static_cast<uint64_t>(count) >> shift));
  }
}

void PutString(std::string* bytes, const std::string& text) {
  bytes->append(text.c_str(), text.size() + 1);
}

size_t CountAt(std::string_view bytes, size_t at) {
  size_t count = 0;
  for (size_t i = 0; i < 4; ++i) {
    count |= size_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  }
  return count;
}

// Takes one string off the front; false where no NUL ends it.
bool TakeString(std::string_view* rest, std::string* text) {
  const size_t end = rest->find('\0');
  if (end == std::string_view::npos) return false;
  *text = rest->substr(0, end);
  rest->remove_prefix(end + 1);
  return true;
}

bool TakeStrings(std::string_view* rest, size_t count, std::vector<std::string>* texts) {
  if (count > rest->size()) return false;  // each takes its NUL at least
  texts->resize(count);
  for (std::string& text : *texts) {
    if (!TakeString(rest, &text)) return false;
  }
  return true;
}

}  // namespace

std::string EncodeCommandLine(const CommandLine& command) {
  std::string bytes(kMagic);
  PutCount(&bytes, command.arguments.size());
  PutCount(&bytes, command.environment.size());
  PutString(&bytes, command.path);
  for (const std::string& argument : command.arguments) PutString(&bytes, argument);
  for (const std::string& entry : command.environment) PutString(&bytes, entry);
  return bytes;
}

Result<CommandLine> DecodeCommandLine(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic)) {
    return Refuse("command line: does not begin as one");
  }
  std::string_view rest = bytes.substr(kHeaderBytes);
  CommandLine command;
  if (!TakeString(&rest, &command.path) ||
      !TakeStrings(&rest, CountAt(bytes, kMagic.size()), &command.arguments) ||
      !TakeStrings(&rest, CountAt(bytes, kMagic.size() + 4), &command.environment)) {
    return Refuse("command line: ends early");
  }
  if (!rest.empty()) {
    return Refuse("command line: " + std::to_string(rest.size()) + " bytes too many");
  }
  return command;
}

}  // namespace landgate::sandbox
