#include "sandbox/plan.h"

#include <concepts>
#include <limits>

#include "base/linux_abi.h"
#include "base/paths.h"

namespace landgate::sandbox {
namespace {

constexpr std::string_view kMagic = "landgate";
constexpr uint32_t kVersion = 1;
constexpr uint8_t kHasKeep = 1;
constexpr uint8_t kOverMounted = 2;
constexpr uint8_t kRequired = 1;
constexpr uint8_t kHasObject = 2;
constexpr size_t kMaxNameBytes = 4096;
constexpr size_t kMaxPathBytes = 4095;                         // PATH_MAX without its NUL
constexpr size_t kFilterInstruction = 8;                       // sizeof(struct sock_filter)
constexpr size_t kMaxFilterBytes = 4096 * kFilterInstruction;  // BPF_MAXINSNS
constexpr size_t kMaxLayers = abi::kLandlockMaxLayers - 1;     // the container may have one already
// The least that one element of a list takes on the wire: bounds what a count may ask for.
constexpr size_t kMinLayerBytes = 4 + 8 + 8 + 8 + 4 + 4;
constexpr size_t kMinPathBytes = 4 + 1 + 8 + 1;
constexpr size_t kPortBytes = 2 + 8;

class Writer {
 public:
  template <std::unsigned_integral T>
  void Number(T value) {
    for (size_t byte = 0; byte < sizeof(T); ++byte) {
      bytes_.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * byte)));
    }
  }
  void Count(size_t count) { Number(static_cast<uint32_t>(count)); }
  void Raw(std::string_view bytes) { bytes_ += bytes; }
  void Text(std::string_view text) {
    Count(text.size());
    Raw(text);
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads until the first thing that is wrong, then answers zeros; the caller looks at `failed`
// before it uses what it read to allocate or to answer.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <std::unsigned_integral T>
  T Number() {
    const std::string_view raw = Raw(sizeof(T));
    if (failed()) return 0;
    uint64_t value = 0;
    for (size_t byte = 0; byte < sizeof(T); ++byte) {
      value |= uint64_t{static_cast<unsigned char>(raw[byte])} << (8 * byte);
    }
    return static_cast<T>(value);
  }
  std::string_view Raw(size_t size) {
    if (failed()) return {};
    if (size > bytes_.size() - offset_) {
      Fail("the plan ends early");
      return {};
    }
    const std::string_view raw = bytes_.substr(offset_, size);
    offset_ += size;
    return raw;
  }
  std::string_view Text(size_t limit) {
    const size_t size = Number<uint32_t>();
    if (size > limit) Fail("a text of " + std::to_string(size) + " bytes is too long");
    return Raw(size);
  }
  // A list's length. Every element takes at least `element` bytes, so a count that the rest can't
  // hold is refused before anything is allocated.
  size_t Count(size_t element, size_t limit = std::numeric_limits<uint32_t>::max()) {
    const size_t count = Number<uint32_t>();
    if (count > limit || count > (bytes_.size() - offset_) / element) {
      Fail("a list of " + std::to_string(count) + " elements is too long");
    }
    return failed() ? 0 : count;
  }
  uint8_t Flags(uint8_t known) {
    const uint8_t flags = Number<uint8_t>();
    if (flags & ~known) Fail("unknown flags " + std::to_string(flags));
    return failed() ? uint8_t{0} : flags;
  }
  void Fail(std::string what) {
    if (!failed()) problem_ = "offset " + std::to_string(offset_) + ": " + std::move(what);
  }
  bool failed() const { return !problem_.empty(); }
  bool at_end() const { return offset_ == bytes_.size(); }
  const std::string& problem() const { return problem_; }

 private:
  std::string_view bytes_;
  size_t offset_ = 0;
  std::string problem_;
};

void WritePath(Writer& out, const PlannedPath& path) {
  out.Text(path.path);
  out.Number(path.rights);
  out.Number(
      static_cast<uint8_t>((path.required ? kRequired : 0) | (path.object ? kHasObject : 0)));
  if (!path.object) return;
  out.Number(path.object->dev_major);
  out.Number(path.object->dev_minor);
  out.Number(path.object->inode);
}

void WriteProgram(Writer& out, const std::vector<uint8_t>& program) {
  out.Count(program.size());
  out.Raw({reinterpret_cast<const char*>(program.data()), program.size()});
}

void WriteLayer(Writer& out, const PlannedLayer& layer) {
  out.Text(layer.name);
  out.Number(layer.handled_fs);
  out.Number(layer.handled_net);
  out.Number(layer.scoped);
  out.Count(layer.paths.size());
  for (const PlannedPath& path : layer.paths) WritePath(out, path);
  out.Count(layer.ports.size());
  for (const PlannedPort& port : layer.ports) {
    out.Number(port.port);
    out.Number(port.rights);
  }
}

PlannedPath ReadPath(Reader& in) {
  PlannedPath path;
  path.path = in.Text(kMaxPathBytes);
  if (!in.failed() && !IsCleanAbsolute(path.path)) in.Fail("a path that is not absolute and clean");
  path.rights = in.Number<uint64_t>();
  const uint8_t flags = in.Flags(kRequired | kHasObject);
  path.required = flags & kRequired;
  if (flags & kHasObject) {
    ObjectId object;
    object.dev_major = in.Number<uint32_t>();
    object.dev_minor = in.Number<uint32_t>();
    object.inode = in.Number<uint64_t>();
    path.object = object;
  }
  return path;
}

std::vector<uint8_t> ReadProgram(Reader& in) {
  const size_t size = in.Count(1, kMaxFilterBytes);
  if (size % kFilterInstruction) in.Fail("a filter that is cut within an instruction");
  const std::string_view program = in.Raw(size);
  return {program.begin(), program.end()};
}

PlannedLayer ReadLayer(Reader& in) {
  PlannedLayer layer;
  layer.name = in.Text(kMaxNameBytes);
  layer.handled_fs = in.Number<uint64_t>();
  layer.handled_net = in.Number<uint64_t>();
  layer.scoped = in.Number<uint64_t>();
  // A domain that handles nothing restricts nothing: no compiler makes one on purpose.
  if (!(layer.handled_fs | layer.handled_net | layer.scoped))
    in.Fail("a layer that handles nothing");
  const size_t paths = in.Count(kMinPathBytes);
  layer.paths.reserve(paths);
  for (size_t i = 0; i < paths && !in.failed(); ++i) layer.paths.push_back(ReadPath(in));
  const size_t ports = in.Count(kPortBytes);
  layer.ports.reserve(ports);
  for (size_t i = 0; i < ports && !in.failed(); ++i) {
    const uint16_t port = in.Number<uint16_t>();
    layer.ports.push_back({port, in.Number<uint64_t>()});
  }
  return layer;
}

}  // namespace

std::string EncodePlan(const Plan& plan) {
  Writer out;
  out.Raw(kMagic);
  out.Number(kVersion);
  out.Number(
      static_cast<uint8_t>((plan.keep ? kHasKeep : 0) | (plan.over_mounted ? kOverMounted : 0)));
  if (plan.keep) out.Number(*plan.keep);
  out.Count(plan.layers.size());
  for (const PlannedLayer& layer : plan.layers) WriteLayer(out, layer);
  WriteProgram(out, plan.filter);
  WriteProgram(out, plan.notify);
  return out.Take();
}

Result<Plan> DecodePlan(std::string_view bytes) {
  if (bytes.empty()) {
    return Refuse("no plan: the prestart hook has not run, so nothing is confined; refusing");
  }
  if (bytes.size() > kMaxPlanBytes) {
    return Refuse("plan: larger than " + std::to_string(kMaxPlanBytes) + " bytes");
  }
  Reader in(bytes);
  if (in.Raw(kMagic.size()) != kMagic) in.Fail("not a plan");
  if (const uint32_t version = in.Number<uint32_t>(); version != kVersion) {
    in.Fail("version " + std::to_string(version) + ", but this launcher reads version " +
            std::to_string(kVersion));
  }
  Plan plan;
  const uint8_t flags = in.Flags(kHasKeep | kOverMounted);
  if (flags & kHasKeep) plan.keep = in.Number<uint64_t>();
  plan.over_mounted = flags & kOverMounted;
  const size_t layers = in.Count(kMinLayerBytes, kMaxLayers);
  plan.layers.reserve(layers);
  for (size_t i = 0; i < layers && !in.failed(); ++i) plan.layers.push_back(ReadLayer(in));
  plan.filter = ReadProgram(in);
  plan.notify = ReadProgram(in);
  if (!in.failed() && !in.at_end()) in.Fail("bytes after the end of the plan");
  if (in.failed()) return Refuse("plan: " + in.problem());
  return plan;
}

}  // namespace landgate::sandbox
