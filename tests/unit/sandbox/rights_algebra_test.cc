#include "sandbox/rights_algebra.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace landgate::sandbox {
namespace {

using policy::Rights;

constexpr Rights kRw = policy::kRead | policy::kModify;
constexpr Rights kRwx = kRw | policy::kExecute;
constexpr Restriction kNone{};
constexpr Restriction kMask{.masked = true};

std::string Chosen(ObjectType type, Rights granted, Rights denied, const Restriction& current) {
  const std::optional<Restriction> chosen = Choose(type, granted, denied, current);
  return chosen ? Describe(*chosen) : "refused";
}

TEST(Choose, NothingWhereNothingIsTooMuch) {
  EXPECT_EQ(Chosen(ObjectType::kDirectory, kRwx, 0, kNone), "nothing");
  EXPECT_EQ(Chosen(ObjectType::kDirectory, policy::kRead, policy::kModify, kNone), "nothing");
  EXPECT_EQ(Chosen(ObjectType::kDirectory, 0, policy::kAll, kNone), "nothing");
}

TEST(Choose, TheWeakestMountThatHolds) {
  for (const ObjectType type : {ObjectType::kDirectory, ObjectType::kRegular}) {
    EXPECT_EQ(Chosen(type, kRwx, policy::kAll, kNone), "masked");
    EXPECT_EQ(Chosen(type, kRwx, policy::kModify, kNone), "read-only");
    EXPECT_EQ(Chosen(type, kRwx, policy::kExecute, kNone), "noexec");
    EXPECT_EQ(Chosen(type, kRwx, policy::kModify | policy::kExecute, kNone), "read-only,noexec");
    // Landlock grants no more than what is wanted but for one right.
    EXPECT_EQ(
        Chosen(type, policy::kRead | policy::kExecute, policy::kModify | policy::kExecute, kNone),
        "noexec");
  }
}

TEST(Choose, DeeperAllowsGoBackIn) {
  EXPECT_EQ(Chosen(ObjectType::kDirectory, kRwx, 0, kMask), "nothing");
  EXPECT_EQ(Chosen(ObjectType::kDirectory, kRwx, policy::kModify | policy::kExecute, kMask),
            "read-only,noexec");
  EXPECT_EQ(Chosen(ObjectType::kDirectory, kRwx, policy::kAll, kMask), "masked");
  const Restriction read_only{.read_only = true, .nodev = true};
  EXPECT_EQ(Chosen(ObjectType::kDirectory, kRwx, 0, read_only), "nothing");
  EXPECT_EQ(Chosen(ObjectType::kDirectory, kRwx, policy::kModify, read_only), "read-only");
}

TEST(Choose, RefusesWhatNoMountCanHold) {
  EXPECT_EQ(Chosen(ObjectType::kRegular, kRwx, policy::kRead, kNone), "refused");
  EXPECT_EQ(Chosen(ObjectType::kDirectory, kRwx, policy::kCreate, kNone), "refused");
  // Read-only mounts don't stop writing to these.
  EXPECT_EQ(Chosen(ObjectType::kDevice, kRwx, policy::kModify, kNone), "refused");
  EXPECT_EQ(Chosen(ObjectType::kFifo, kRwx, policy::kModify, kNone), "refused");
  EXPECT_EQ(Chosen(ObjectType::kDevice, kRwx, policy::kAll, kNone), "masked");
}

TEST(Choose, ReadOnlyTakesDevicesAlong) {
  EXPECT_EQ(Chosen(ObjectType::kDirectory, policy::kAll & ~policy::kUnix, policy::kModify, kNone),
            "read-only");
}

TEST(Choose, ExecuteMeansNothingForADevice) {
  EXPECT_EQ(Chosen(ObjectType::kDevice, kRwx, policy::kExecute, kNone), "nothing");
}

// Whatever is chosen leaves no denied right, and takes none that is wanted but for the two losses.
RC_GTEST_PROP(Choose, LeavesExactlyWhatIsWanted, ()) {
  const Rights all = policy::kHandledByDefault;
  const auto type = *rc::gen::element(ObjectType::kDirectory, ObjectType::kRegular,
                                      ObjectType::kDevice, ObjectType::kFifo);
  const Rights granted = *rc::gen::arbitrary<uint64_t>() & all;
  const Rights denied = *rc::gen::element<Rights>(0, policy::kModify, policy::kExecute,
                                                  policy::kModify | policy::kExecute, all) |
                        (*rc::gen::arbitrary<bool>() ? *rc::gen::arbitrary<uint64_t>() & all : 0);
  const Restriction current = *rc::gen::element(
      kNone, kMask, Restriction{.noexec = true}, Restriction{.read_only = true, .nodev = true},
      Restriction{.read_only = true, .noexec = true, .nodev = true});
  const std::optional<Restriction> chosen = Choose(type, granted, denied, current);
  if (!chosen) return;
  const Rights relevant = RelevantRights(type) & granted;
  const Rights left = relevant & ~Taken(type, *chosen);
  RC_ASSERT((left & denied) == 0);
  const Rights lost = relevant & ~denied & ~left;
  RC_ASSERT((lost & ~(policy::kDevice | policy::kIoctl)) == 0);
}

}  // namespace
}  // namespace landgate::sandbox
