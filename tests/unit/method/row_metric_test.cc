#include "method/row_metric.h"

#include <limits>

#include "unit/method/problem.h"

namespace qz {
namespace {

// [rows][block]: what the model measures.
Matrix blocks_of(const Matrix& g, int64_t block) {
  Matrix out(g.rows(), block);
  for (int64_t r = 0; r < g.rows(); r++)
    for (int64_t s = r / block * block; s < std::min(g.rows(), (r / block + 1) * block); s++)
      out.row(r)[s % block] = g.row(r)[s];
  return out;
}

TEST(RowMetric, ChainsHoldTheirBlockOfG) {
  const Matrix a = random_matrix(60, 20, 1), g = gram(a, a);
  const auto metric = make_row_metric(*make_context(3), blocks_of(g, 8).view(), 0.5);
  ASSERT_TRUE(metric.ok()) << metric.status().text();
  double ridge = 0;
  for (int64_t r = 0; r < 20; r++) ridge += 0.5 * static_cast<double>(g.row(r)[r]) / 20;
  ASSERT_EQ(metric->chains.size(), 3u);
  int64_t first = 0;
  for (const RowMetric::Chain& chain : metric->chains) {
    ASSERT_EQ(chain.rows, std::min<int64_t>(8, 20 - first));
    auto damped = [&](int64_t i, int64_t j) {
      const int32_t r = chain.order[static_cast<size_t>(i)], s = chain.order[static_cast<size_t>(j)];
      return static_cast<double>(g.row(r)[s]) + (r == s ? ridge : 0);
    };
    std::vector<int32_t> sorted = chain.order;
    std::sort(sorted.begin(), sorted.end());
    for (int64_t i = 0; i < chain.rows; i++) {
      EXPECT_EQ(sorted[static_cast<size_t>(i)], first + i);
      if (i > 0) {
        EXPECT_LE(damped(i - 1, i - 1), damped(i, i));
      }
      for (int64_t j = 0; j < chain.rows; j++)
        ASSERT_NEAR(static_cast<double>(chain.weight.row(i)[j]), damped(i, j) / damped(i, i), 1e-5);
    }
    // ahead = M with unit diagonal: G = M M^T, so the pivots M_ii^2 follow from the last column on.
    std::vector<double> pivot(static_cast<size_t>(chain.rows));
    auto m = [&](int64_t i, int64_t j) { return i == j ? 1.0 : static_cast<double>(chain.ahead.row(j)[i]); };
    for (int64_t j = 0; j < chain.rows; j++) {
      double rest = damped(j, j);
      for (int64_t k = 0; k < j; k++) rest -= m(j, k) * m(j, k) * pivot[static_cast<size_t>(k)];
      pivot[static_cast<size_t>(j)] = rest;
      EXPECT_GT(rest, 0);
    }
    for (int64_t i = 0; i < chain.rows; i++)
      for (int64_t j = 0; j < i; j++) {
        double product = 0;
        for (int64_t k = 0; k <= j; k++) product += m(i, k) * m(j, k) * pivot[static_cast<size_t>(k)];
        ASSERT_NEAR(product, damped(i, j), 1e-4 * damped(i, i));
        ASSERT_EQ(chain.ahead.row(i)[j], 0.0f);
      }
    first += chain.rows;
  }
}

TEST(RowMetric, NothingToTellRowsApartIsTheIdentity) {
  EXPECT_TRUE(make_row_metric(*make_context(1), MatrixView(), 0.03)->identity());
  EXPECT_TRUE(make_row_metric(*make_context(1), Matrix(8, 8).view(), 0.03)->identity());
}

TEST(RowMetric, TheRidgeIsRaisedForRowsThatAreCopies) {
  Matrix g(6, 6);
  std::fill(g.data(), g.data() + 36, 1.0f);  // rank one
  const auto metric = make_row_metric(*make_context(1), g.view(), 1e-12);
  ASSERT_TRUE(metric.ok()) << metric.status().text();
  for (int64_t i = 0; i < 36; i++) EXPECT_TRUE(std::isfinite(metric->chains[0].ahead.data()[i]));
}

TEST(RowMetric, WhatIsNoMetricIsANumericError) {
  Matrix g(6, 6);
  for (int64_t r = 0; r < 6; r++) g.row(r)[r] = 1;
  g.row(3)[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(make_row_metric(*make_context(1), g.view(), 0.03).status().code(), Code::kNumeric);
  g.row(3)[3] = 1;
  g.row(3)[2] = g.row(2)[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(make_row_metric(*make_context(1), g.view(), 0.03).status().code(), Code::kNumeric);
  g.row(3)[2] = g.row(2)[3] = 1e9f;  // indefinite beyond repair
  const auto status = make_row_metric(*make_context(1), g.view(), 1e-6).status();
  EXPECT_EQ(status.code(), Code::kNumeric);
  EXPECT_NE(status.text().find("rows 0 to 6"), std::string::npos) << status.text();
}

}  // namespace
}  // namespace qz
