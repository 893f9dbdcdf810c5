// Random modules and inputs for the tests of the solver, and what they are judged by, in double.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/gemm.h"
#include "method/gptq.h"
#include "method/rtn.h"

namespace qz {

inline Matrix random_matrix(int64_t rows, int64_t cols, uint32_t seed, float size = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, size);
  Matrix m(rows, cols);
  for (int64_t i = 0; i < rows * cols; i++) m.data()[i] = normal(random);
  return m;
}

// sum of a^T b over rows.
inline Matrix gram(const Matrix& a, const Matrix& b) {
  Matrix out(a.cols(), b.cols());
  EXPECT_TRUE(gemm_tn(*make_context(1), a.view(), b.view(), 1, false, out.data(), b.cols()).ok());
  return out;
}

// Activations whose columns are correlated and differ in size, as those of a language model do.
inline Matrix random_inputs(int64_t tokens, int64_t cols, uint32_t seed) {
  const Matrix z = random_matrix(tokens, cols, seed), mix = random_matrix(cols, cols, seed + 1);
  Matrix x = z;
  EXPECT_TRUE(
      gemm_nn(*make_context(1), z.view(), mix.view(), 0.6f / std::sqrt(static_cast<float>(cols)), x.data(), cols).ok());
  for (int64_t t = 0; t < tokens; t++)
    for (int64_t j = 0; j < cols; j++) x.row(t)[j] *= 0.3f + static_cast<float>(j * 7 % 11) / 5;
  return x;
}

struct Problem {
  Matrix w;
  StageStats stats;
};

inline Problem make_problem(int64_t rows, int64_t cols, int64_t tokens = 0, uint32_t seed = 1) {
  Problem p;
  p.w = random_matrix(rows, cols, seed, 0.05f);
  const Matrix x = random_inputs(tokens ? tokens : 2 * cols, cols, seed + 10);
  p.stats.cols = cols;
  p.stats.tokens = x.rows();
  p.stats.h = gram(x, x);
  return p;
}

// Everything off: GPTQ as published, in natural order.
inline GptqOptions plain_gptq() {
  GptqOptions o;
  o.order = Order::kNone;
  o.sweeps = 0;
  o.search = o.signed_grid = o.refit = false;
  o.metric = 0;
  o.drift = o.residual = 0;
  o.damp = 0.01;
  return o;
}

inline Scheme make_scheme(int32_t bits, int32_t group, bool symmetric = true, DType scale = DType::kF32) {
  return {CodeKind::kInt, bits, group, symmetric, scale};
}

// tr(E H E^T) / tokens, E = W - Q: what the layer's outputs lose, in mean square.
inline double output_loss(const Problem& p, const QMatrix& q) {
  const Matrix wq = dequantize(q);
  double total = 0;
  for (int64_t r = 0; r < p.w.rows(); r++)
    for (int64_t i = 0; i < p.w.cols(); i++) {
      double row = 0;
      for (int64_t j = 0; j < p.w.cols(); j++)
        row += static_cast<double>(p.stats.h.row(i)[j]) *
               (static_cast<double>(p.w.row(r)[j]) - static_cast<double>(wq.row(r)[j]));
      total += row * (static_cast<double>(p.w.row(r)[i]) - static_cast<double>(wq.row(r)[i]));
    }
  return total / static_cast<double>(p.stats.tokens);
}

// tr(G E (H + damp I) E^T) of codes in group order; g: [rows][rows].
inline double objective(MatrixView target, const HessianFactor& f, const Matrix& g, const Scheme& scheme,
                        const Grid& grid, const std::vector<uint8_t>& codes) {
  const int64_t rows = target.rows, n = target.cols, size = scheme.group_size(n);
  std::vector<double> e(static_cast<size_t>(rows * n)), eh(e.size());
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < n; c++) {
      const size_t at = static_cast<size_t>(r * n + c), s = static_cast<size_t>(grid.at(r, c / size));
      e[at] = static_cast<double>(target.row(r)[c]) -
              static_cast<double>(grid.scale[s]) * (static_cast<double>(codes[at]) - static_cast<double>(grid.zero[s]));
    }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++)
        eh[static_cast<size_t>(r * n + j)] += e[static_cast<size_t>(r * n + i)] * static_cast<double>(f.h.row(i)[j]);
  double total = 0;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t s = 0; s < rows; s++) {
      const double weight = g.empty() ? (r == s ? 1 : 0) : static_cast<double>(g.row(r)[s]);
      if (weight == 0) continue;
      for (int64_t j = 0; j < n; j++)
        total += weight * e[static_cast<size_t>(r * n + j)] * eh[static_cast<size_t>(s * n + j)];
    }
  return total;
}

inline Result<Solved> solve(const Problem& p, const Scheme& scheme, const GptqOptions& options, int32_t threads = 1,
                            const RowMetric& metric = {}, int32_t min_zero = 0) {
  const ContextPtr context = make_context(threads);
  QZ_ASSIGN(const HessianFactor factor, factor_hessian(*context, p.stats, options));
  QZ_ASSIGN(const HeldOut held, held_out(*context, p.w.view(), p.stats, nullptr));
  return gptq(*context, p.w.view(), factor, p.stats, held, scheme, options, metric, min_zero);
}

inline QMatrix solved_matrix(const Problem& p, const Scheme& scheme, const GptqOptions& options, int32_t threads = 1,
                             const RowMetric& metric = {}, int32_t min_zero = 0) {
  Result<Solved> solved = solve(p, scheme, options, threads, metric, min_zero);
  EXPECT_TRUE(solved.ok()) << solved.status().text();
  if (!solved.ok()) return {};
  EXPECT_TRUE(check_qmatrix(solved->q).ok()) << check_qmatrix(solved->q).text();
  return solved->q;
}

inline QMatrix rounded_matrix(const Problem& p, const Scheme& scheme, int32_t min_zero = 0) {
  Result<QMatrix> q = rtn(*make_context(1), p.w.view(), scheme, min_zero);
  EXPECT_TRUE(q.ok()) << q.status().text();
  return q.ok() ? *q : QMatrix();
}

}  // namespace qz
