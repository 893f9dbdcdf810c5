#include "eval/score.h"

#include <gtest/gtest.h>

#include <cmath>

namespace qz {
namespace {

TEST(Score, KnownDistributions) {
  // log of (0.5, 0.25, 0.25) and (0.25, 0.25, 0.5), each shifted by a constant that must not matter.
  const float model[] = {std::log(0.5f) + 3, std::log(0.25f) + 3, std::log(0.25f) + 3};
  const float reference[] = {std::log(0.25f) - 90, std::log(0.25f) - 90, std::log(0.5f) - 90};
  const TokenScore s = score_token(model, reference, 3, 1);
  EXPECT_NEAR(s.nll, std::log(4.0), 1e-6);
  // 0.25 log(0.25 / 0.5) + 0 + 0.5 log(0.5 / 0.25)
  EXPECT_NEAR(s.kl, 0.25 * std::log(2.0), 1e-5);
  EXPECT_FALSE(s.agrees);
  const float uniform[] = {0, 0, 0};
  // KL(p || uniform) = log 3 - entropy of p; the other way round it is another number: the reference comes first.
  EXPECT_NEAR(score_token(uniform, model, 3, 0).kl, std::log(3.0) - 1.5 * std::log(2.0), 1e-6);
  EXPECT_NEAR(score_token(model, uniform, 3, 0).kl, (5 * std::log(2.0)) / 3 - std::log(3.0), 1e-6);
}

TEST(Score, SameLogits) {
  std::vector<float> x(1000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(std::sin(static_cast<double>(i)) * 20);
  const TokenScore s = score_token(x.data(), x.data(), 1000, 5);
  EXPECT_EQ(s.kl, 0);
  EXPECT_TRUE(s.agrees);
}

TEST(Score, TiesGoToTheLowestId) {
  const float a[] = {1, 2, 2}, b[] = {1, 2, 1};
  EXPECT_TRUE(score_token(a, b, 3, 0).agrees);
}

TEST(Score, Quantile) {  // numpy.quantile([4, 1, 3, 2], q)
  std::vector<double> v = {4, 1, 3, 2};
  EXPECT_DOUBLE_EQ(quantile(&v, 0.99), 3.9699999999999998);
  EXPECT_DOUBLE_EQ(quantile(&v, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile(&v, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(&v, 1), 4);
  v.clear();
  EXPECT_TRUE(std::isnan(quantile(&v, 0.5)));
}

// Many windows of one token: the bootstrap agrees with the delta method, exp(mean) * sd / sqrt(n).
TEST(Score, BootstrapError) {
  std::vector<double> nll;
  for (int i = 0; i < 400; ++i) nll.push_back(2 + std::sin(i * 12.9898) * 0.5);
  double mean = 0, squares = 0;
  for (double v : nll) mean += v / 400;
  for (double v : nll) squares += (v - mean) * (v - mean) / 399;
  const double expected = std::exp(mean) * std::sqrt(squares / 400);
  EXPECT_NEAR(bootstrap_error(nll, std::vector<int64_t>(400, 1)), expected, 0.15 * expected);
  EXPECT_EQ(bootstrap_error({2, 2, 2}, {1, 1, 1}), 0);
  EXPECT_TRUE(std::isnan(bootstrap_error({2}, {1})));
}

}  // namespace
}  // namespace qz
