#include "base/result.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace landgate {
namespace {

Result<int> Fails() { return SystemError("/etc/x", ENOENT); }
Result<std::string> Adds() {
  Result<int> inner = Fails();
  if (!inner) return Context("policy", inner);
  return std::string("never");
}
Status Forwards() {
  Result<std::string> inner = Adds();
  if (!inner) return Forward(inner);
  return {};
}

TEST(ResultTest, ContextStandsInFrontAndKeepsErrnoAndStatus) {
  const Status status = Forwards();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "policy: /etc/x: No such file or directory");
  EXPECT_EQ(status.error().error_number, ENOENT);
  EXPECT_EQ(status.error().status, ExitStatus::kRefused);
}

TEST(ResultTest, EachKindOfErrorHasItsExitStatus) {
  EXPECT_EQ(static_cast<int>(Refuse("x").value().status), 1);
  EXPECT_EQ(static_cast<int>(BadUsage("x").value().status), 2);
  EXPECT_EQ(static_cast<int>(Impossible("x").value().status), 3);
  EXPECT_EQ(static_cast<int>(ExitStatus::kDone), 0);
  const Status kept = Context("a", Impossible("b").value());
  EXPECT_EQ(kept.error().status, ExitStatus::kImpossible);
  EXPECT_EQ(kept.error().message, "a: b");
}

TEST(ResultTest, AnErrnoWithoutAName) {
  EXPECT_EQ(SystemError("x", 99999).value().message, "x: unknown error");
}

TEST(ResultTest, HoldsWhatOnlyMoves) {
  Result<std::unique_ptr<int>> made = std::make_unique<int>(3);
  ASSERT_TRUE(made);
  const std::unique_ptr<int> taken = std::move(*made);
  EXPECT_EQ(*taken, 3);
}

}  // namespace
}  // namespace landgate
