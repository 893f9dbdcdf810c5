#include "method/gptq.h"

#include <limits>

#include "unit/method/problem.h"

namespace qz {
namespace {

GptqOptions all_levers() {
  GptqOptions o;
  o.drift = o.residual = 0;
  o.damp = 0.01;
  return o;
}

TEST(Rtn, IsWithinHalfAStep) {
  const Problem p = make_problem(5, 100, 8);
  for (const int32_t bits : {2, 3, 4, 8}) {
    const QMatrix q = rounded_matrix(p, make_scheme(bits, 32, false));
    ASSERT_TRUE(check_qmatrix(q).ok());
    const Matrix back = dequantize(q);
    for (int64_t r = 0; r < 5; r++)
      for (int64_t c = 0; c < 100; c++)  // the zero point is rounded as well
        EXPECT_LE(std::fabs(back.row(r)[c] - p.w.row(r)[c]), 1.001f * q.scale(r, c / 32));
  }
}

TEST(Gptq, BeatsRtnForEveryWidthAndGroup) {
  const Problem p = make_problem(8, 300);
  for (const int32_t bits : {2, 3, 4, 8})
    for (const int32_t group : {16, 32, 64, 128, 256, kGroupRow, kGroupTensor})
      for (const bool symmetric : {true, false}) {
        const Scheme scheme = make_scheme(bits, group, symmetric);
        const double rounded = output_loss(p, rounded_matrix(p, scheme));
        const double published = output_loss(p, solved_matrix(p, scheme, plain_gptq()));
        const double ours = output_loss(p, solved_matrix(p, scheme, all_levers()));
        EXPECT_LT(published, rounded) << scheme_name(scheme);
        EXPECT_LT(ours, published) << scheme_name(scheme);
      }
}

TEST(Gptq, GroupsOf1024) {
  const Problem p = make_problem(3, 1100, 1200);
  const Scheme scheme = make_scheme(4, 1024);
  const QMatrix q = solved_matrix(p, scheme, all_levers());
  EXPECT_EQ(q.scales.size(), 6u);
  EXPECT_LT(output_loss(p, q), 0.7 * output_loss(p, rounded_matrix(p, scheme)));
}

TEST(Gptq, OneRowAndFewColumns) {
  for (const int64_t cols : {16, 17, 40}) {
    const Problem p = make_problem(1, cols, 100);
    for (const Order order : {Order::kNone, Order::kStatic, Order::kGidx}) {
      GptqOptions o = all_levers();
      o.order = order;
      EXPECT_LT(output_loss(p, solved_matrix(p, make_scheme(3, 16), o)),
                output_loss(p, rounded_matrix(p, make_scheme(3, 16))));
    }
  }
}

// Each lever alone, on top of plain GPTQ, over several modules.
TEST(Gptq, EveryLeverHelps) {
  struct Lever {
    const char* name;
    double least;  // gain that it must bring here
    void (*pull)(GptqOptions*);
  };
  const Lever levers[] = {
      {"order", 0.99, [](GptqOptions* o) { o->order = Order::kStatic; }},
      {"g_idx", 0.99, [](GptqOptions* o) { o->order = Order::kGidx; }},
      {"search", 0.95, [](GptqOptions* o) { o->search = true; }},
      {"signed", 0.99, [](GptqOptions* o) { o->signed_grid = true; }},
      {"sweeps", 0.97, [](GptqOptions* o) { o->sweeps = 4; }},
      {"refit", 0.9, [](GptqOptions* o) { o->sweeps = 4, o->refit = true; }},
  };
  const Scheme scheme = make_scheme(3, 32);
  for (const Lever& lever : levers) {
    double with = 0, without = 0;
    for (const uint32_t seed : {1u, 2u, 3u}) {
      const Problem p = make_problem(16, 128, 0, seed);
      GptqOptions o = plain_gptq();
      without += output_loss(p, solved_matrix(p, scheme, o));
      lever.pull(&o);
      with += output_loss(p, solved_matrix(p, scheme, o));
    }
    EXPECT_LT(with, lever.least * without) << lever.name << " " << with / without;
  }
}

TEST(Gptq, GidxSaysWhichGroupAColumnIsIn) {
  const Problem p = make_problem(6, 200);
  GptqOptions o = all_levers();
  o.order = Order::kGidx;
  const QMatrix q = solved_matrix(p, make_scheme(4, 64), o);
  ASSERT_EQ(q.g_idx.size(), 200u);
  std::vector<int64_t> members(4);
  std::vector<float> least(4, std::numeric_limits<float>::infinity()), most(4, 0);
  for (int64_t c = 0; c < 200; c++) {
    const size_t g = static_cast<size_t>(q.g_idx[static_cast<size_t>(c)]);
    members[g]++;
    least[g] = std::min(least[g], p.stats.h.row(c)[c]);
    most[g] = std::max(most[g], p.stats.h.row(c)[c]);
  }
  EXPECT_EQ(members, (std::vector<int64_t>{64, 64, 64, 8}));
  for (size_t g = 1; g < 4; g++) EXPECT_GE(least[g - 1], most[g]);
  EXPECT_LT(output_loss(p, q), output_loss(p, rounded_matrix(p, make_scheme(4, 64))));
  // One group: nothing to say, and the codes are in their natural places.
  const QMatrix row = solved_matrix(p, make_scheme(4, kGroupRow), o);
  EXPECT_TRUE(row.g_idx.empty());
  EXPECT_LT(output_loss(p, row), output_loss(p, rounded_matrix(p, make_scheme(4, kGroupRow))));
}

TEST(Gptq, DeadColumnsAreRoundedToNearest) {
  Problem p = make_problem(9, 64);
  for (const int64_t dead : {0, 30, 63})
    for (int64_t j = 0; j < 64; j++) p.stats.h.row(dead)[j] = p.stats.h.row(j)[dead] = 0;
  for (const Order order : {Order::kNone, Order::kStatic, Order::kGidx}) {
    GptqOptions o = all_levers();
    o.order = order;
    const QMatrix q = solved_matrix(p, make_scheme(4, 16), o);
    for (const int64_t c : {0, 30, 63})
      for (int64_t r = 0; r < 9; r++) {
        const int64_t g = q.group_of(c);
        EXPECT_EQ(q.codes[static_cast<size_t>(r * 64 + c)],
                  nearest_code(p.w.row(r)[c], 1 / q.scale(r, g), static_cast<float>(q.zero(r, g)), 15));
      }
  }
}

TEST(Gptq, ZeroRowsStayZero) {
  Problem p = make_problem(4, 64);
  std::fill(p.w.row(2), p.w.row(2) + 64, 0.0f);
  for (const bool symmetric : {true, false})
    for (const DType scale : {DType::kF16, DType::kBF16, DType::kF32}) {
      const Matrix back = dequantize(solved_matrix(p, make_scheme(4, 32, symmetric, scale), all_levers()));
      for (int64_t c = 0; c < 64; c++) ASSERT_EQ(back.row(2)[c], 0.0f);
    }
}

TEST(Gptq, ZeroPointsKeepToTheFormatsSmallest) {
  Problem p = make_problem(8, 64);
  for (int64_t i = 0; i < 4 * 64; i++) p.w.data()[i] = std::fabs(p.w.data()[i]);  // half of the rows: zero point 0
  const QMatrix any = solved_matrix(p, make_scheme(4, 16, false), all_levers());
  EXPECT_EQ(*std::min_element(any.zeros.begin(), any.zeros.end()), 0);
  const QMatrix v1 = solved_matrix(p, make_scheme(4, 16, false), all_levers(), 1, {}, 1);
  EXPECT_EQ(*std::min_element(v1.zeros.begin(), v1.zeros.end()), 1);
  EXPECT_LT(output_loss(p, v1), output_loss(p, rounded_matrix(p, make_scheme(4, 16, false), 1)));
}

TEST(Gptq, ScalesBeyondF16AreNumericErrors) {
  Problem p = make_problem(4, 32);
  p.w.row(1)[5] = 1e7f;
  const auto solved = solve(p, make_scheme(4, 16, true, DType::kF16), all_levers());
  ASSERT_FALSE(solved.ok());
  EXPECT_EQ(solved.status().code(), Code::kNumeric);
}

// A matrix whose weights lie on a 16-level grid comes back to the bit.
TEST(Gptq, WeightsOnAGridComeBack) {
  Problem p = make_problem(6, 96);
  for (int64_t i = 0; i < 6 * 96; i++) p.w.data()[i] = 0.03125f * static_cast<float>(i * 7 % 16 - 8);
  for (const Order order : {Order::kNone, Order::kStatic, Order::kGidx}) {
    GptqOptions o = all_levers();
    o.order = order;
    const Matrix back = dequantize(solved_matrix(p, make_scheme(4, 32, true, DType::kF16), o));
    for (int64_t i = 0; i < 6 * 96; i++) ASSERT_EQ(back.data()[i], p.w.data()[i]) << i;
  }
}

TEST(Gptq, ThreadsDoNotChangeABit) {
  const Problem p = make_problem(70, 160);
  Matrix a = random_matrix(200, 70, 3);
  const Matrix full = gram(a, a);
  Matrix blocks(70, 32);
  for (int64_t r = 0; r < 70; r++)
    for (int64_t s = r / 32 * 32; s < std::min<int64_t>(70, r / 32 * 32 + 32); s++)
      blocks.row(r)[s % 32] = full.row(r)[s];
  const auto metric = make_row_metric(*make_context(1), blocks.view(), 0.03);
  ASSERT_TRUE(metric.ok());
  for (const Order order : {Order::kStatic, Order::kGidx})
    for (const RowMetric& m : {RowMetric(), *metric}) {
      GptqOptions o = all_levers();
      o.order = order;
      const std::string want = hash_qmatrix(solved_matrix(p, make_scheme(4, 32), o, 1, m));
      for (const int32_t threads : {2, 3, 8})
        EXPECT_EQ(hash_qmatrix(solved_matrix(p, make_scheme(4, 32), o, threads, m)), want) << threads;
    }
}

}  // namespace
}  // namespace qz
