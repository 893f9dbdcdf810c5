#include "method/hessian.h"

#include <limits>

#include "unit/method/problem.h"

namespace qz {
namespace {

HessianFactor factored(const StageStats& stats, const GptqOptions& options) {
  auto f = factor_hessian(*make_context(2), stats, options);
  EXPECT_TRUE(f.ok()) << f.status().text();
  return f.ok() ? std::move(*f) : HessianFactor();
}

GptqOptions with(Order order, double damp = 0.01) {
  GptqOptions o = plain_gptq();
  o.order = order;
  o.damp = damp;
  return o;
}

TEST(Hessian, FactorGivesBackTheDampedHessianInEveryOrder) {
  const Problem p = make_problem(1, 70);
  for (const Order order : {Order::kNone, Order::kStatic, Order::kGidx}) {
    const HessianFactor f = factored(p.stats, with(order));
    double mean = 0;
    for (int64_t j = 0; j < 70; j++) mean += static_cast<double>(p.stats.h.row(j)[j]) / 70;
    for (int64_t i = 0; i < 70; i++)
      for (int64_t j = 0; j < 70; j++) {
        double product = 0;
        for (int64_t k = 0; k < 70; k++)
          product += static_cast<double>(f.lower.row(i)[k]) * static_cast<double>(f.lower.row(j)[k]);
        const int64_t a = f.order[static_cast<size_t>(i)], b = f.order[static_cast<size_t>(j)];
        const int32_t na = f.natural[static_cast<size_t>(a)], nb = f.natural[static_cast<size_t>(b)];
        const double want = (static_cast<double>(p.stats.h.row(na)[nb]) + (i == j ? 0.01 * mean : 0)) /
                            static_cast<double>(p.stats.tokens);
        ASSERT_NEAR(product, want, 1e-5 * mean / static_cast<double>(p.stats.tokens)) << i << " " << j;
        ASSERT_NEAR(static_cast<double>(f.h.row(a)[b]), want, 1e-6 * mean / static_cast<double>(p.stats.tokens));
        if (j > i) {
          ASSERT_EQ(f.lower.row(i)[j], 0.0f);
        }
      }
    EXPECT_EQ(f.damp_steps, 0);
    EXPECT_EQ(f.damp, 0.01);
    EXPECT_EQ(f.dead, 0);
  }
}

TEST(Hessian, ColumnsAreSolvedByFallingDiagonal) {
  const Problem p = make_problem(1, 40);
  auto diagonal = [&](int32_t natural) { return p.stats.h.row(natural)[natural]; };
  for (const Order order : {Order::kStatic, Order::kGidx}) {
    const HessianFactor f = factored(p.stats, with(order));
    for (size_t i = 1; i < 40; i++)  // solved from the last factor index down
      EXPECT_LE(diagonal(f.natural[static_cast<size_t>(f.order[i - 1])]),
                diagonal(f.natural[static_cast<size_t>(f.order[i])]));
  }
  const HessianFactor natural = factored(p.stats, with(Order::kNone));
  for (size_t i = 0; i < 40; i++) EXPECT_EQ(natural.order[i], static_cast<int32_t>(39 - i));
  const HessianFactor g_idx = factored(p.stats, with(Order::kGidx));
  for (size_t i = 1; i < 40; i++) EXPECT_GE(diagonal(g_idx.natural[i - 1]), diagonal(g_idx.natural[i]));
}

// [[1, 2], [2, 1]]-like blocks have a negative eigenvalue -1: no damping below 1 of the mean diagonal repairs them.
StageStats indefinite(float off) {
  StageStats s;
  s.cols = 16;
  s.tokens = 1;
  s.h = Matrix(16, 16);
  for (int64_t i = 0; i < 16; i++) {
    s.h.row(i)[i] = 1;
    s.h.row(i)[i ^ 1] = off;
  }
  return s;
}

TEST(Hessian, DampingIsRaisedUntilTheHessianIsDefinite) {
  const HessianFactor f = factored(indefinite(1.05f), with(Order::kStatic, 0.01));
  EXPECT_EQ(f.damp_steps, 1);
  EXPECT_DOUBLE_EQ(f.damp, 0.1);
  EXPECT_NEAR(f.h.row(3)[3], 1.1f, 1e-6f);
}

TEST(Hessian, RankDeficientHessianIsSolvedWithDamping) {
  const Problem p = make_problem(4, 64, 9);  // 9 tokens span 9 of 64 directions
  const HessianFactor f = factored(p.stats, with(Order::kStatic));
  EXPECT_LE(f.damp, 1.0);
  for (int64_t i = 0; i < 64; i++) EXPECT_GT(f.lower.row(i)[i], 0.0f);
}

TEST(Hessian, HopelessOnesAreNumericErrors) {
  auto code = [](const StageStats& s) {
    return factor_hessian(*make_context(1), s, with(Order::kStatic)).status().code();
  };
  EXPECT_EQ(code(indefinite(2.5f)), Code::kNumeric);  // stays indefinite up to damp 1
  StageStats s = make_problem(1, 16).stats;
  s.tokens = 0;
  EXPECT_EQ(code(s), Code::kNumeric);
  s = make_problem(1, 16).stats;
  s.h.row(5)[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(code(s), Code::kNumeric);
  s.h.row(5)[5] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(code(s), Code::kNumeric);
  s = make_problem(1, 16).stats;
  s.h.row(5)[3] = s.h.row(3)[5] = std::numeric_limits<float>::quiet_NaN();  // off the diagonal
  EXPECT_EQ(code(s), Code::kNumeric);
  s.h = Matrix(16, 16);
  EXPECT_EQ(code(s), Code::kNumeric);
}

TEST(Hessian, DeadColumnsStandAlone) {
  Problem p = make_problem(1, 48);
  for (const int64_t dead : {3, 17})
    for (int64_t j = 0; j < 48; j++) p.stats.h.row(dead)[j] = p.stats.h.row(j)[dead] = 0;
  const HessianFactor f = factored(p.stats, with(Order::kStatic));
  EXPECT_EQ(f.dead, 2);
  for (int64_t i = 0; i < 48; i++) {
    const int32_t c = f.order[static_cast<size_t>(i)];
    if (c != 3 && c != 17) continue;
    for (int64_t j = 0; j < i; j++) EXPECT_EQ(f.lower.row(i)[j], 0.0f);
  }
}

TEST(Hessian, RowsAreSolved) {
  const Problem p = make_problem(90, 33);
  for (const Order order : {Order::kNone, Order::kStatic, Order::kGidx}) {
    const HessianFactor f = factored(p.stats, with(order));
    Matrix z = random_matrix(90, 33, 5);
    const Matrix want = z;
    Matrix y(90, 33);  // z (H + damp I)
    for (int64_t r = 0; r < 90; r++)
      for (int64_t j = 0; j < 33; j++)
        for (int64_t i = 0; i < 33; i++) y.row(r)[j] += z.row(r)[i] * f.h.row(i)[j];
    ASSERT_TRUE(solve_rows(*make_context(3), f, &y, nullptr).ok());
    for (int64_t i = 0; i < 90 * 33; i++) ASSERT_NEAR(y.data()[i], want.data()[i], 2e-3f);
  }
}

}  // namespace
}  // namespace qz
