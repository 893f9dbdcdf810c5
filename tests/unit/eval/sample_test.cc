// Sampling against transformers' definitions (RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
// TopKLogitsWarper, TopPLogitsWarper), with numbers small enough to follow by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "eval/generate.h"

namespace qz {
namespace {

// Probabilities 0.1, 0.2, 0.3, 0.4.
std::vector<float> tenths() { return {std::log(0.1f), std::log(0.2f), std::log(0.3f), std::log(0.4f)}; }

int32_t pick(std::vector<float> logits, const SampleOptions& options, double u, const std::vector<int32_t>& seen = {}) {
  return sample_token(logits.data(), static_cast<int64_t>(logits.size()), options, seen, u);
}

TEST(Sample, InvertsTheDistribution) {
  EXPECT_EQ(pick(tenths(), {}, 0), 0);
  EXPECT_EQ(pick(tenths(), {}, 0.099), 0);
  EXPECT_EQ(pick(tenths(), {}, 0.101), 1);
  EXPECT_EQ(pick(tenths(), {}, 0.299), 1);
  EXPECT_EQ(pick(tenths(), {}, 0.301), 2);
  EXPECT_EQ(pick(tenths(), {}, 0.601), 3);
  EXPECT_EQ(pick(tenths(), {}, 1 - 1e-16), 3);
}

TEST(Sample, Greedy) {
  EXPECT_EQ(pick({1, 5, 5, 2}, {.greedy = true}, 0.99), 1);
  EXPECT_EQ(pick({1, 5, 4, 2}, {.greedy = true, .repetition_penalty = 2}, 0, {1, 1}), 2);  // 5 / 2 once, not twice
  EXPECT_EQ(pick({1, 9, 4, 2}, {.greedy = true, .repetition_penalty = 2}, 0, {1, 1}), 1);
  EXPECT_EQ(pick({-1, -1.5f, -3, -3}, {.greedy = true, .repetition_penalty = 2}, 0, {0}), 1);  // negative: -1 * 2
}

TEST(Sample, Temperature) {
  // Temperature 0.5 squares: 1, 4, 9, 16 of 30.
  const SampleOptions options = {.temperature = 0.5};
  EXPECT_EQ(pick(tenths(), options, 0.9 / 30), 0);
  EXPECT_EQ(pick(tenths(), options, 1.1 / 30), 1);
  EXPECT_EQ(pick(tenths(), options, 13.9 / 30), 2);
  EXPECT_EQ(pick(tenths(), options, 14.1 / 30), 3);
}

TEST(Sample, TopK) {
  const SampleOptions two = {.top_k = 2};  // 0.3, 0.4 of 0.7
  EXPECT_EQ(pick(tenths(), two, 0), 2);
  EXPECT_EQ(pick(tenths(), two, 0.42), 2);
  EXPECT_EQ(pick(tenths(), two, 0.43), 3);
  EXPECT_EQ(pick({1, 1, 1, 0}, two, 0), 0);  // ties with the second stay
  EXPECT_EQ(pick(tenths(), {.top_k = 100}, 0), 0);
}

TEST(Sample, TopP) {
  // Ascending sums 0.1, 0.3, 0.6: those of at most 1 - p go.
  EXPECT_EQ(pick(tenths(), {.top_p = 0.95}, 0), 0);
  EXPECT_EQ(pick(tenths(), {.top_p = 0.85}, 0), 1);
  EXPECT_EQ(pick(tenths(), {.top_p = 0.65}, 0), 2);
  EXPECT_EQ(pick(tenths(), {.top_p = 0.35}, 0), 3);
  EXPECT_EQ(pick(tenths(), {.top_p = 1e-9}, 0), 3);  // the most likely one stays
  EXPECT_EQ(pick(tenths(), {.top_p = 0.65}, 0.42), 2);
  EXPECT_EQ(pick(tenths(), {.top_p = 0.65}, 0.43), 3);
}

// Top-k comes before top-p: of 0.3 and 0.4 (3/7, 4/7), p = 0.5 keeps one; of all four it would keep two.
TEST(Sample, Order) {
  EXPECT_EQ(pick(tenths(), {.top_p = 0.5, .top_k = 2}, 0), 3);
  EXPECT_EQ(pick(tenths(), {.top_p = 0.5}, 0), 2);
}

TEST(Sample, Frequencies) {
  std::vector<int> count(4);
  for (uint64_t i = 0; i < 20000; ++i) ++count[static_cast<size_t>(pick(tenths(), {}, uniform(1, 2, i)))];
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(count[static_cast<size_t>(i)], 2000 * (i + 1), 250);
}

}  // namespace
}  // namespace qz
