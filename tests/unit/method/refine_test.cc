#include "method/refine.h"

#include "method/columns.h"
#include "tensor/convert.h"
#include "unit/method/problem.h"

namespace qz {
namespace {

// A solved module, ready to be refined; g is the metric that `metric` was made of (its ridge included) or empty.
struct Start {
  Problem p;
  HessianFactor factor;
  Scheme scheme;
  Grid grid;
  std::vector<uint8_t> codes;
  Matrix g;
  RowMetric metric;

  double loss() const { return objective(p.w.view(), factor, g, scheme, grid, codes); }
  Status refine(int32_t sweeps, bool refit, int32_t threads = 1) {
    return qz::refine(*make_context(threads), p.w.view(), factor, metric, Lattice(scheme, p.w.cols()), sweeps, refit,
                      &grid, &codes, nullptr);
  }
};

Start start_at(int64_t rows, int64_t cols, const Scheme& scheme, int64_t chain, bool nearest = false,
               uint32_t seed = 1) {
  Start s;
  s.p = make_problem(rows, cols, 0, seed);
  s.scheme = scheme;
  GptqOptions o = plain_gptq();
  o.order = Order::kStatic;
  s.factor = std::move(*factor_hessian(*make_context(1), s.p.stats, o));
  s.grid = std::move(*choose_grid(*make_context(1), s.p.w.view(), s.factor.diag.data(), scheme, {}));
  if (chain > 0) {
    Matrix a = random_matrix(2 * rows, rows, seed + 5);
    for (int64_t t = 0; t < a.rows(); t++)
      for (int64_t r = 1; r < rows; r++) a.row(t)[r] += 0.8f * a.row(t)[r - 1];
    const Matrix full = gram(a, a);
    Matrix blocks(rows, chain);
    s.g = Matrix(rows, rows);
    double mean = 0;
    for (int64_t r = 0; r < rows; r++) mean += static_cast<double>(full.row(r)[r]) / static_cast<double>(rows);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = r / chain * chain; c < std::min(rows, (r / chain + 1) * chain); c++) {
        blocks.row(r)[c % chain] = full.row(r)[c];
        s.g.row(r)[c] = full.row(r)[c] + (r == c ? static_cast<float>(0.03 * mean) : 0);
      }
    s.metric = std::move(*make_row_metric(*make_context(1), blocks.view(), 0.03));
  }
  s.codes = nearest ? nearest_codes(*make_context(1), s.p.w.view(), s.grid, scheme)
                    : std::move(*solve_columns(*make_context(1), s.p.w.view(), s.factor, s.metric, s.grid,
                                               Lattice(scheme, cols), 128, nullptr));
  return s;
}

std::vector<Scheme> schemes() {
  return {make_scheme(4, 32),
          make_scheme(2, 16, false),
          make_scheme(3, 128),
          make_scheme(4, kGroupRow),
          make_scheme(8, 24),
          make_scheme(4, kGroupTensor),
          make_scheme(4, 32, true, DType::kF16)};
}

TEST(Refine, NeverMakesItWorse) {
  for (const Scheme& scheme : schemes())
    for (const int64_t chain : {0, 16}) {
      if (chain && scheme.group == kGroupTensor) continue;  // one scale for all: the metric is left out of the refit
      for (const bool refit : {false, true}) {
        Start s = start_at(24, 200, scheme, chain);
        double last = s.loss();
        const double first = last;
        for (int sweep = 0; sweep < 4; sweep++) {
          ASSERT_TRUE(s.refine(1, refit).ok());
          const double now = s.loss();
          EXPECT_LE(now, last * (1 + 1e-5)) << scheme_name(scheme) << " chain " << chain << " refit " << refit;
          last = now;
        }
        EXPECT_LT(last, first) << scheme_name(scheme) << " chain " << chain << " refit " << refit;
      }
    }
}

TEST(Refine, RefittedScalesGainAndCanBeStored) {
  for (const int64_t chain : {0, 16}) {
    Start plain = start_at(24, 160, make_scheme(3, 32, true, DType::kBF16), chain), refitted = plain;
    const std::vector<float> before = plain.grid.scale;
    ASSERT_TRUE(plain.refine(3, false).ok());
    EXPECT_EQ(plain.grid.scale, before);
    ASSERT_TRUE(refitted.refine(3, true).ok());
    EXPECT_LT(refitted.loss(), 0.99 * plain.loss());
    size_t moved = 0;
    for (size_t i = 0; i < before.size(); i++) {
      EXPECT_EQ(round_to(refitted.grid.scale[i], DType::kBF16), refitted.grid.scale[i]);
      EXPECT_EQ(refitted.grid.inverse[i], 1 / refitted.grid.scale[i]);
      moved += refitted.grid.scale[i] != before[i];
    }
    EXPECT_GT(moved, before.size() / 10);
  }
}

// At the end no single code can be moved to a better neighbour: counted by brute force.
TEST(Refine, EndsWhereNoSingleCodeCanImprove) {
  for (const int64_t chain : {0, 8}) {
    Start s = start_at(8, 40, make_scheme(3, 16), chain, true);
    const double start = s.loss();
    ASSERT_TRUE(s.refine(60, false).ok());
    const double end = s.loss();
    EXPECT_LT(end, 0.9 * start);
    for (size_t i = 0; i < s.codes.size(); i++)
      for (const int step : {-1, 1}) {
        const uint8_t old = s.codes[i];
        if (old + step < 0 || old + step > s.scheme.max_code()) continue;
        s.codes[i] = static_cast<uint8_t>(old + step);
        ASSERT_GE(s.loss(), end * (1 - 1e-6)) << "cell " << i;
        s.codes[i] = old;
      }
  }
}

TEST(Refine, NoSweepsChangeNothing) {
  Start s = start_at(8, 64, make_scheme(4, 32), 0);
  const Start before = s;
  ASSERT_TRUE(s.refine(0, true).ok());
  EXPECT_EQ(s.codes, before.codes);
  EXPECT_EQ(s.grid.scale, before.grid.scale);
}

TEST(Refine, ThreadsDoNotChangeABit) {
  for (const Scheme& scheme : {make_scheme(4, 32), make_scheme(3, kGroupTensor), make_scheme(2, 200, false)})
    for (const int64_t chain : {0, 32}) {
      Start want = start_at(75, 300, scheme, chain);
      const Start fresh = want;
      ASSERT_TRUE(want.refine(2, true).ok());
      for (const int32_t threads : {2, 3, 8}) {
        Start s = fresh;
        ASSERT_TRUE(s.refine(2, true, threads).ok());
        EXPECT_EQ(s.codes, want.codes) << scheme_name(scheme) << " chain " << chain << " threads " << threads;
        EXPECT_EQ(s.grid.scale, want.grid.scale);
      }
    }
}

}  // namespace
}  // namespace qz
