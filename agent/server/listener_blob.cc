#include "agent/server/listener_blob.h"

#include <charconv>

#include "oci-specs/state.h"

namespace landgate::agent {
namespace {

constexpr std::string_view kVersion = "1";

// The next word; numbers and the id have no spaces in them.
std::string_view Word(std::string_view& rest) {
  const size_t end = rest.find(' ');
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return word;
}

template <class T>
bool Number(std::string_view& rest, T* value) {
  const std::string_view word = Word(rest);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), *value);
  return error == std::errc() && end == word.data() + word.size();
}

}  // namespace

std::string EncodeListenerBlob(const ListenerBlob& blob) {
  std::string text(kVersion);
  for (const uint64_t number :
       {uint64_t{blob.region}, blob.container, blob.connection, static_cast<uint64_t>(blob.kind),
        static_cast<uint64_t>(blob.process)}) {
    text += ' ' + std::to_string(number);
  }
  return text + ' ' + blob.id;
}

Result<ListenerBlob> DecodeListenerBlob(std::string_view bytes) {
  ListenerBlob blob;
  uint32_t kind = 0;
  if (Word(bytes) != kVersion || !Number(bytes, &blob.region) || !Number(bytes, &blob.container) ||
      !Number(bytes, &blob.connection) || !Number(bytes, &kind) || !Number(bytes, &blob.process) ||
      kind > static_cast<uint32_t>(ListenerKind::kSession) || blob.process < 0 ||
      !oci::IsContainerId(bytes)) {
    return Refuse(
        "what is kept beside a listener was written by another version of landgate-agent");
  }
  blob.kind = static_cast<ListenerKind>(kind);
  blob.id = bytes;
  return blob;
}

}  // namespace landgate::agent
