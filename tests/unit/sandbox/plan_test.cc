#include "sandbox/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>

namespace landgate::sandbox {
namespace {

using testing::HasSubstr;

Plan Example() {
  Plan plan;
  PlannedLayer layer;
  layer.name = "web";
  layer.handled_fs = 0xffff;
  layer.handled_net = 3;
  layer.scoped = 1;
  layer.paths.push_back({"/", 4, false, std::nullopt});
  layer.paths.push_back({"/usr/lib", 13, true, ObjectId{8, 1, 4711}});
  layer.ports.push_back({443, 2});
  plan.layers = {layer, layer};
  plan.keep = CapabilitySet{1} << 10;
  plan.filter = std::vector<uint8_t>(16, 7);
  plan.over_mounted = true;
  plan.notify = std::vector<uint8_t>(24, 9);
  return plan;
}

std::string Message(const std::string& bytes) {
  const Result<Plan> plan = DecodePlan(bytes);
  return plan ? "accepted" : plan.error().message;
}

void Put32(std::string& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
}

// Offsets in an encoded plan without `keep`: magic 8, version 4, flags 1, layers 4.
constexpr size_t kFlagsAt = 12;
constexpr size_t kLayersAt = 13;

TEST(Plan, ComesBackAsItWas) {
  const Result<Plan> plan = DecodePlan(EncodePlan(Example()));
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(*plan, Example());
  const Result<Plan> nothing = DecodePlan(EncodePlan(Plan{}));
  ASSERT_TRUE(nothing) << nothing.error().message;
  EXPECT_EQ(*nothing, Plan{});
}

TEST(Plan, ComesBackAsItWasWhateverItIs) {
  EXPECT_TRUE(rc::check([] {
    Plan plan;
    for (int layers = *rc::gen::inRange(0, 5); layers > 0; --layers) {
      PlannedLayer layer;
      layer.name = *rc::gen::container<std::string>(rc::gen::character<char>());
      layer.handled_fs = *rc::gen::arbitrary<uint64_t>() | 1;
      layer.handled_net = *rc::gen::arbitrary<uint64_t>();
      layer.scoped = *rc::gen::arbitrary<uint64_t>();
      for (int paths = *rc::gen::inRange(0, 5); paths > 0; --paths) {
        PlannedPath path;
        // Any bytes but those that make a path another one.
        path.path = "/x" + *rc::gen::container<std::string>(rc::gen::suchThat(
                               rc::gen::character<char>(), [](char c) { return c && c != '/'; }));
        path.rights = *rc::gen::arbitrary<uint64_t>();
        path.required = *rc::gen::arbitrary<bool>();
        if (*rc::gen::arbitrary<bool>()) {
          path.object = ObjectId{*rc::gen::arbitrary<uint32_t>(), *rc::gen::arbitrary<uint32_t>(),
                                 *rc::gen::arbitrary<uint64_t>()};
        }
        layer.paths.push_back(path);
      }
      for (int ports = *rc::gen::inRange(0, 5); ports > 0; --ports) {
        layer.ports.push_back({*rc::gen::arbitrary<uint16_t>(), *rc::gen::arbitrary<uint64_t>()});
      }
      plan.layers.push_back(layer);
    }
    if (*rc::gen::arbitrary<bool>()) plan.keep = *rc::gen::arbitrary<uint64_t>();
    plan.filter.resize(8 * *rc::gen::inRange<size_t>(0, 20), *rc::gen::arbitrary<uint8_t>());
    plan.notify.resize(8 * *rc::gen::inRange<size_t>(0, 20), *rc::gen::arbitrary<uint8_t>());
    plan.over_mounted = *rc::gen::arbitrary<bool>();
    const Result<Plan> back = DecodePlan(EncodePlan(plan));
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == plan);
  }));
}

TEST(Plan, AnEmptyOneSaysThatTheHookHasNotRun) {
  EXPECT_THAT(Message(""), HasSubstr("the prestart hook has not run"));
}

TEST(Plan, IsRefusedWhereverItIsCut) {
  const std::string bytes = EncodePlan(Example());
  for (size_t size = 1; size < bytes.size(); ++size) {
    EXPECT_THAT(Message(bytes.substr(0, size)), HasSubstr("plan: offset ")) << size;
  }
}

TEST(Plan, HasOneSpellingOnly) {
  // Whatever bit is turned, the result is refused or is another plan that is written just so.
  const std::string bytes = EncodePlan(Example());
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string other = bytes;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << (bit % 8)));
    const Result<Plan> plan = DecodePlan(other);
    if (!plan) {
      ++refused;
    } else {
      EXPECT_EQ(EncodePlan(*plan), other) << bit;
    }
  }
  EXPECT_GT(refused, 8 * 13U);  // all of magic and version at least
}

TEST(Plan, RefusesWhatItDoesNotKnow) {
  const std::string good = EncodePlan(Plan{});
  ASSERT_EQ(Message(good), "accepted");

  EXPECT_THAT(Message("#!/bin/sh\nexit 0\n"), HasSubstr("not a plan"));
  std::string version = good;
  version[8] = 2;
  EXPECT_THAT(Message(version), HasSubstr("version 2"));
  std::string flags = good;
  flags[kFlagsAt] = 4;
  EXPECT_THAT(Message(flags), HasSubstr("unknown flags 4"));
  EXPECT_THAT(Message(good + "x"), HasSubstr("bytes after the end"));
  EXPECT_THAT(Message(std::string(kMaxPlanBytes + 1, 'x')), HasSubstr("larger than"));
}

TEST(Plan, RefusesCountsThatItCannotHold) {
  std::string layers = EncodePlan(Plan{});
  Put32(layers, kLayersAt, 0xffffffffU);
  EXPECT_THAT(Message(layers), HasSubstr("offset 17: a list of 4294967295 elements is too long"));
  std::string filter = EncodePlan(Plan{});
  Put32(filter, kLayersAt + 4, 0xfffffff8U);
  EXPECT_THAT(Message(filter), HasSubstr("too long"));

  Plan many;
  many.layers.resize(15);
  for (PlannedLayer& layer : many.layers) layer.handled_fs = 1;
  EXPECT_EQ(Message(EncodePlan(many)), "accepted");
  many.layers.push_back(many.layers[0]);  // with the container's own more than the kernel stacks
  EXPECT_THAT(Message(EncodePlan(many)), HasSubstr("too long"));
}

TEST(Plan, RefusesWhatNoCompilerMeans) {
  Plan idle = Example();
  idle.layers[0].handled_fs = idle.layers[0].handled_net = idle.layers[0].scoped = 0;
  EXPECT_THAT(Message(EncodePlan(idle)), HasSubstr("handles nothing"));

  for (const char* path : {"", "usr", "/usr/", "/usr/../etc", "//usr", "/./usr"}) {
    Plan plan = Example();
    plan.layers[1].paths[0].path = path;
    EXPECT_THAT(Message(EncodePlan(plan)), HasSubstr("not absolute and clean")) << path;
  }
  Plan nul = Example();
  nul.layers[0].paths[0].path = std::string("/a\0b", 4);
  EXPECT_THAT(Message(EncodePlan(nul)), HasSubstr("not absolute and clean"));
  Plan longest = Example();
  longest.layers[0].paths[0].path = "/" + std::string(4095, 'a');
  EXPECT_THAT(Message(EncodePlan(longest)), HasSubstr("too long"));

  Plan cut = Example();
  cut.filter.pop_back();
  EXPECT_THAT(Message(EncodePlan(cut)), HasSubstr("cut within an instruction"));
  Plan large = Example();
  large.filter.resize(4097 * 8);
  EXPECT_THAT(Message(EncodePlan(large)), HasSubstr("too long"));
}

}  // namespace
}  // namespace landgate::sandbox
