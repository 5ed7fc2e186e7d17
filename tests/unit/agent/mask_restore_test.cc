#include "agent/helper/mask_restore.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace landgate::agent {
namespace {

using sandbox::MountStepKind;
using sandbox::StepState;
using sandbox::WatchedStep;

WatchedStep SomeStep() {
  WatchedStep watched;
  watched.step.kind = *rc::gen::element(MountStepKind::kMaskFile, MountStepKind::kMaskEmpty,
                                        MountStepKind::kMaskDir, MountStepKind::kRestrict,
                                        MountStepKind::kBindBack, MountStepKind::kPin);
  watched.step.path = *rc::gen::arbitrary<std::string>();
  watched.step.because = *rc::gen::arbitrary<std::string>();
  watched.step.object = {*rc::gen::arbitrary<uint32_t>(), *rc::gen::arbitrary<uint32_t>(),
                         *rc::gen::arbitrary<uint64_t>()};
  watched.step.directory = *rc::gen::arbitrary<bool>();
  watched.step.read_only = *rc::gen::arbitrary<bool>();
  watched.step.noexec = *rc::gen::arbitrary<bool>();
  watched.step.nodev = *rc::gen::arbitrary<bool>();
  watched.step.writable_again = *rc::gen::arbitrary<bool>();
  watched.mount = *rc::gen::arbitrary<uint64_t>();
  return watched;
}

void Same(const WatchedStep& one, const WatchedStep& other) {
  RC_ASSERT(one.step.kind == other.step.kind);
  RC_ASSERT(one.step.path == other.step.path);
  RC_ASSERT(one.step.because == other.step.because);
  RC_ASSERT(one.step.object == other.step.object);
  RC_ASSERT(one.step.directory == other.step.directory);
  RC_ASSERT(one.step.read_only == other.step.read_only);
  RC_ASSERT(one.step.noexec == other.step.noexec);
  RC_ASSERT(one.step.nodev == other.step.nodev);
  RC_ASSERT(one.step.writable_again == other.step.writable_again);
  RC_ASSERT(one.mount == other.mount);
}

size_t AFew() { return *rc::gen::inRange<size_t>(0, 5); }

TEST(MaskMessages, RequestsComeBackAsTheyWere) {
  rc::check([] {
    MaskRequest request;
    request.before_pivot = *rc::gen::arbitrary<std::string>();
    for (size_t n = AFew(); n > 0; --n) request.steps.push_back(SomeStep());
    for (size_t n = AFew(); n > 0; --n) {
      request.names.push_back({*rc::gen::arbitrary<std::string>(), SomeStep().step});
    }
    const auto again = DecodeMaskRequest(EncodeMaskRequest(request));
    RC_ASSERT(again.has_value());
    RC_ASSERT(again->before_pivot == request.before_pivot);
    RC_ASSERT(again->steps.size() == request.steps.size());
    RC_ASSERT(again->names.size() == request.names.size());
    for (size_t i = 0; i < request.steps.size(); ++i) Same(request.steps[i], again->steps[i]);
    for (size_t i = 0; i < request.names.size(); ++i) {
      RC_ASSERT(again->names[i].path == request.names[i].path);
      Same({request.names[i].like, 0}, {again->names[i].like, 0});
    }
  });
}

MaskAnswer SomeAnswer() {
  MaskAnswer answer;
  answer.problem = *rc::gen::arbitrary<std::string>();
  answer.unwatched = *rc::gen::arbitrary<bool>();
  for (size_t n = AFew(); n > 0; --n) {
    answer.outcome.steps.push_back({*rc::gen::element(StepState::kStands, StepState::kRestored,
                                                      StepState::kMissing, StepState::kFailed),
                                    *rc::gen::arbitrary<uint64_t>(),
                                    *rc::gen::arbitrary<std::string>()});
  }
  for (size_t n = AFew(); n > 0; --n) answer.outcome.added.push_back(SomeStep());
  for (size_t n = AFew(); n > 0; --n) {
    answer.outcome.leads.push_back(*rc::gen::arbitrary<std::string>());
    answer.entries.push_back({*rc::gen::arbitrary<int>(), *rc::gen::arbitrary<std::string>()});
  }
  return answer;
}

TEST(MaskMessages, AnswersComeBackAsTheyWere) {
  rc::check([] {
    const MaskAnswer answer = SomeAnswer();
    const auto again = DecodeMaskAnswer(EncodeMaskAnswer(answer));
    RC_ASSERT(again.has_value());
    RC_ASSERT(again->problem == answer.problem);
    RC_ASSERT(again->unwatched == answer.unwatched);
    RC_ASSERT(again->outcome.steps.size() == answer.outcome.steps.size());
    for (size_t i = 0; i < answer.outcome.steps.size(); ++i) {
      RC_ASSERT(again->outcome.steps[i].state == answer.outcome.steps[i].state);
      RC_ASSERT(again->outcome.steps[i].mount == answer.outcome.steps[i].mount);
      RC_ASSERT(again->outcome.steps[i].problem == answer.outcome.steps[i].problem);
    }
    RC_ASSERT(again->outcome.added.size() == answer.outcome.added.size());
    for (size_t i = 0; i < answer.outcome.added.size(); ++i) {
      Same(answer.outcome.added[i], again->outcome.added[i]);
    }
    RC_ASSERT(again->outcome.leads == answer.outcome.leads);
    RC_ASSERT(again->entries.size() == answer.entries.size());
    for (size_t i = 0; i < answer.entries.size(); ++i) {
      RC_ASSERT(again->entries[i].watch == answer.entries[i].watch);
      RC_ASSERT(again->entries[i].name == answer.entries[i].name);
    }
  });
}

// A helper that dies while it writes leaves a part.
TEST(MaskMessages, APartIsNothing) {
  rc::check([] {
    const std::string bytes = EncodeMaskAnswer(SomeAnswer());
    const size_t cut = *rc::gen::inRange<size_t>(0, bytes.size());
    RC_ASSERT(!DecodeMaskAnswer(bytes.substr(0, cut)));
    RC_ASSERT(!DecodeMaskAnswer(bytes + "x"));
  });
}

TEST(MaskMessages, AnyBytesAreDecodedOrRefused) {
  rc::check([](const std::string& bytes) {
    (void)DecodeMaskRequest(bytes);
    (void)DecodeMaskAnswer(bytes);
  });
}

TEST(MountsAt, TheTopmostMountAtEachPath) {
  const auto table = sandbox::ParseMountInfo(
      "1 0 8:1 / / rw - ext4 /dev/a rw\n"
      "2 1 8:2 / /host/root rw - ext4 /dev/b rw\n"
      "3 2 0:5 /null /host/root/vol/secret ro - devtmpfs udev rw\n"
      "4 2 0:5 /null /vol/secret ro - devtmpfs udev rw\n"
      "5 4 0:5 /null /vol/secret ro - devtmpfs udev rw\n"
      "6 2 0:5 / /host/rootless/vol/secret ro - tmpfs t rw\n");
  ASSERT_TRUE(table);
  sandbox::MountStep secret, missing;
  secret.path = "/vol/secret";
  missing.path = "/vol/other";
  EXPECT_EQ((std::vector<uint64_t>{5, 0}), MountsAt(*table, {secret, missing}, ""));
  EXPECT_EQ((std::vector<uint64_t>{3, 0}), MountsAt(*table, {secret, missing}, "/host/root"));
}

}  // namespace
}  // namespace landgate::agent
