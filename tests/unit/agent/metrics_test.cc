#include "agent/notify/metrics.h"

#include <gtest/gtest.h>

#include <memory>

namespace landgate::agent {
namespace {

TEST(Metrics, EveryLatencyFallsIntoOneBucket) {
  const auto metrics = std::make_unique<Metrics>();
  metrics->ForListener(0).Answered(0);
  metrics->ForListener(1).Answered(kLatencyBounds[0]);      // bounds are inclusive
  metrics->ForListener(2).Answered(kLatencyBounds[0] + 1);  // another shard
  metrics->ForListener(Metrics::kShards).Answered(kLatencyBounds.back() + 1);
  EXPECT_EQ(metrics->LatencyBucket(0), 2U);
  EXPECT_EQ(metrics->LatencyBucket(1), 1U);
  EXPECT_EQ(metrics->LatencyBucket(kLatencyBounds.size()), 1U) << "+Inf";
  EXPECT_EQ(metrics->Sum(&Metrics::Shard::latency_sum),
            2 * kLatencyBounds[0] + 1 + kLatencyBounds.back() + 1);
}

TEST(Metrics, BoundsGrow) {
  for (size_t i = 1; i < kLatencyBounds.size(); ++i)
    EXPECT_LT(kLatencyBounds[i - 1], kLatencyBounds[i]);
}

}  // namespace
}  // namespace landgate::agent
