#include "method/columns.h"

#include "unit/method/problem.h"

namespace qz {
namespace {

std::vector<uint8_t> columns(const Problem& p, const HessianFactor& f, const Grid& grid, const Scheme& scheme,
                             int64_t block, int32_t threads = 1, const RowMetric& metric = {}) {
  auto codes =
      solve_columns(*make_context(threads), p.w.view(), f, metric, grid, Lattice(scheme, p.w.cols()), block, nullptr);
  EXPECT_TRUE(codes.ok()) << codes.status().text();
  return codes.ok() ? *codes : std::vector<uint8_t>();
}

double share_equal(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  size_t equal = 0;
  for (size_t i = 0; i < a.size(); i++) equal += a[i] == b[i];
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

// Equations 2 and 3 of the GPTQ paper (Frantar et al. 2022), from Optimal Brain Quantization: the inverse Hessian is
// formed, and each solved column is taken out of it.
std::vector<uint8_t> by_the_paper(Matrix w, const HessianFactor& f, const Grid& grid, const Scheme& scheme) {
  const int64_t n = w.cols(), size = scheme.group_size(n);
  std::vector<double> inverse(static_cast<size_t>(n * n)), h(inverse.size());
  auto at = [n](std::vector<double>& m, int64_t i, int64_t j) -> double& { return m[static_cast<size_t>(i * n + j)]; };
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j++) at(h, i, j) = static_cast<double>(f.h.row(i)[j]);
    at(inverse, i, i) = 1;
  }
  for (int64_t k = 0; k < n; k++) {  // Gauss-Jordan; positive definite: no pivoting
    const double pivot = at(h, k, k);
    for (int64_t j = 0; j < n; j++) at(h, k, j) /= pivot, at(inverse, k, j) /= pivot;
    for (int64_t i = 0; i < n; i++) {
      const double by = at(h, i, k);
      if (i == k || by == 0) continue;
      for (int64_t j = 0; j < n; j++) at(h, i, j) -= by * at(h, k, j), at(inverse, i, j) -= by * at(inverse, k, j);
    }
  }
  std::vector<std::vector<double>> rows;
  for (int64_t r = 0; r < w.rows(); r++) rows.emplace_back(w.row(r), w.row(r) + n);
  std::vector<uint8_t> codes(static_cast<size_t>(w.rows() * n));
  for (int64_t step = n - 1; step >= 0; step--) {
    const int64_t c = f.order[static_cast<size_t>(step)];
    const double pivot = at(inverse, c, c);
    for (int64_t r = 0; r < w.rows(); r++) {
      const size_t g = static_cast<size_t>(grid.at(r, c / size));
      std::vector<double>& row = rows[static_cast<size_t>(r)];
      const double s = static_cast<double>(grid.scale[g]), z = static_cast<double>(grid.zero[g]);
      const double code =
          std::clamp(std::nearbyint(row[static_cast<size_t>(c)] / s + z), 0.0, static_cast<double>(scheme.max_code()));
      codes[static_cast<size_t>(r * n + c)] = static_cast<uint8_t>(code);
      const double e = (row[static_cast<size_t>(c)] - s * (code - z)) / pivot;
      for (int64_t j = 0; j < n; j++) row[static_cast<size_t>(j)] -= e * at(inverse, c, j);
    }
    const std::vector<double> line(inverse.begin() + c * n, inverse.begin() + (c + 1) * n);
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++)
        at(inverse, i, j) -= line[static_cast<size_t>(i)] * line[static_cast<size_t>(j)] / pivot;
  }
  return codes;
}

TEST(Columns, AreThoseOfThePaper) {
  const Problem p = make_problem(37, 150);
  for (const Order order : {Order::kNone, Order::kStatic}) {
    GptqOptions o = plain_gptq();
    o.order = order;
    const auto f = factor_hessian(*make_context(1), p.stats, o);
    ASSERT_TRUE(f.ok());
    for (const Scheme& scheme : {make_scheme(4, 32), make_scheme(2, 64, false), make_scheme(3, kGroupRow)}) {
      const auto grid = choose_grid(*make_context(1), p.w.view(), nullptr, scheme, {false, true, 0});
      ASSERT_TRUE(grid.ok());
      const std::vector<uint8_t> ours = columns(p, *f, *grid, scheme, 128);
      EXPECT_GE(share_equal(ours, by_the_paper(p.w, *f, *grid, scheme)), 0.998) << scheme_name(scheme);
      EXPECT_LT(share_equal(ours, nearest_codes(*make_context(1), p.w.view(), *grid, scheme)), 0.99);
    }
  }
}

// M with G = M M^T by the same route as the solver needs it, from G itself.
Matrix random_metric(int64_t rows, uint32_t seed) {
  Matrix a = random_matrix(3 * rows, rows, seed);
  for (int64_t t = 0; t < a.rows(); t++)
    for (int64_t r = 1; r < rows; r++) a.row(t)[r] += 0.9f * a.row(t)[r / 2];
  return gram(a, a);
}

TEST(Columns, ABlockIsOnlyAWayToComputeIt) {
  const Problem p = make_problem(19, 140);
  GptqOptions o = plain_gptq();
  o.order = Order::kStatic;
  const Scheme scheme = make_scheme(4, 32);
  const auto f = factor_hessian(*make_context(1), p.stats, o);
  const auto grid = choose_grid(*make_context(1), p.w.view(), f->diag.data(), scheme, {});
  const auto metric = make_row_metric(*make_context(1), random_metric(19, 4).view(), 0.03);
  ASSERT_TRUE(f.ok() && grid.ok() && metric.ok());
  for (const RowMetric& m : {RowMetric(), *metric}) {
    const std::vector<uint8_t> want = columns(p, *f, *grid, scheme, 140, 1, m);
    for (const int64_t block : {1, 7, 64, 139, 4096})
      EXPECT_GE(share_equal(columns(p, *f, *grid, scheme, block, 1, m), want), 0.99) << block;
  }
}

TEST(Columns, TheMetricCarriesErrorsBetweenRows) {
  double with = 0, without = 0;
  for (const uint32_t seed : {1u, 2u, 3u}) {
    const Problem p = make_problem(48, 64, 0, seed);
    const Matrix g = random_metric(48, seed);
    const Scheme scheme = make_scheme(3, 32);
    const auto f = factor_hessian(*make_context(1), p.stats, plain_gptq());
    const auto grid = choose_grid(*make_context(1), p.w.view(), nullptr, scheme, {});
    const auto metric = make_row_metric(*make_context(1), g.view(), 0.001);
    ASSERT_TRUE(f.ok() && grid.ok() && metric.ok());
    with += objective(p.w.view(), *f, g, scheme, *grid, columns(p, *f, *grid, scheme, 128, 1, *metric));
    without += objective(p.w.view(), *f, g, scheme, *grid, columns(p, *f, *grid, scheme, 128));
  }
  EXPECT_LT(with, 0.9 * without);
}

TEST(Columns, RowsThatTheMetricDoesNotCoupleAreSolvedAlone) {
  const Problem p = make_problem(20, 64);
  Matrix g(20, 20);
  for (int64_t r = 0; r < 20; r++) g.row(r)[r] = 1 + static_cast<float>(r * 3 % 5);
  const Scheme scheme = make_scheme(4, 32);
  const auto f = factor_hessian(*make_context(1), p.stats, plain_gptq());
  const auto grid = choose_grid(*make_context(1), p.w.view(), nullptr, scheme, {});
  const auto metric = make_row_metric(*make_context(1), g.view(), 0.03);
  ASSERT_TRUE(f.ok() && grid.ok() && metric.ok());
  EXPECT_GE(share_equal(columns(p, *f, *grid, scheme, 128, 1, *metric), columns(p, *f, *grid, scheme, 128)), 0.995);
}

TEST(Columns, ThreadsDoNotChangeABit) {
  const Problem p = make_problem(75, 200);
  GptqOptions o = plain_gptq();
  o.order = Order::kStatic;
  const Scheme scheme = make_scheme(4, 32, false);
  const auto f = factor_hessian(*make_context(1), p.stats, o);
  const auto grid = choose_grid(*make_context(1), p.w.view(), nullptr, scheme, {});
  Matrix g(75, 32);  // chains of 32, 32, 11 rows
  const Matrix full = random_metric(75, 6);
  for (int64_t r = 0; r < 75; r++)
    for (int64_t s = r / 32 * 32; s < std::min<int64_t>(75, r / 32 * 32 + 32); s++) g.row(r)[s % 32] = full.row(r)[s];
  const auto metric = make_row_metric(*make_context(1), g.view(), 0.03);
  ASSERT_TRUE(f.ok() && grid.ok() && metric.ok());
  for (const RowMetric& m : {RowMetric(), *metric}) {
    const std::vector<uint8_t> want = columns(p, *f, *grid, scheme, 64, 1, m);
    for (const int32_t threads : {2, 3, 8}) EXPECT_EQ(columns(p, *f, *grid, scheme, 64, threads, m), want) << threads;
  }
}

TEST(Columns, CancelledBetweenBlocks) {
  const Problem p = make_problem(40, 64);
  const Scheme scheme = make_scheme(4, 32);
  const auto f = factor_hessian(*make_context(1), p.stats, plain_gptq());
  const auto grid = choose_grid(*make_context(1), p.w.view(), nullptr, scheme, {});
  ASSERT_TRUE(f.ok() && grid.ok());
  Progress progress([](const ProgressInfo&) { return false; });
  EXPECT_EQ(progress.force().code(), Code::kCancelled);
  EXPECT_EQ(solve_columns(*make_context(2), p.w.view(), *f, {}, *grid, Lattice(scheme, p.w.cols()), 16, &progress)
                .status()
                .code(),
            Code::kCancelled);
}

}  // namespace
}  // namespace qz
