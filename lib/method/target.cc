#include "method/target.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rows.h"
#include "base/simd.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

WeightRows dense_rows(const MatrixView* m) {
  return {m->rows, m->cols, m, [](const void* self, int64_t row, int64_t c0, int64_t c1, float* out) {
            const MatrixView* v = static_cast<const MatrixView*>(self);
            std::copy(v->row(row) + c0, v->row(row) + c1, out);
          }};
}

// x w^T: [x.rows][w.rows].
Result<Matrix> outputs(const Context& context, const Matrix& x, MatrixView w, Progress* progress) {
  Matrix y(x.rows(), w.rows);
  QZ_TRY(gemm_nt(context, x.view(), dense_rows(&w), nullptr, false, y.data(), w.rows, progress));
  return y;
}

// In float64, in lanes that the compiler can keep in vectors.
QZ_SIMD_CLONES
double dot_row(const float* a, const float* b, int64_t n) {
  constexpr int kLanes = 8;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) sums[l] += static_cast<double>(a[i + l]) * static_cast<double>(b[i + l]);
  for (; i < n; i++) sums[i % kLanes] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  double total = 0;
  for (const double s : sums) total += s;
  return total;
}

// 0 where one of them is not there.
Result<double> dot(const Context& context, const Matrix& a, const Matrix& b) {
  if (a.empty() || b.empty()) return 0.0;
  return sum_over_rows(context, a.rows(), [&](int64_t r) { return dot_row(a.row(r), b.row(r), a.cols()); });
}

void add_row(const float* x, int64_t n, float* to) {
  for (int64_t i = 0; i < n; i++) to[i] += x[i];
}
Status add(const Context& context, const Matrix& a, Matrix* to) {
  return for_each_row(context, a.rows(), [&](int64_t r) { add_row(a.row(r), a.cols(), to->row(r)); });
}

bool writes_residual(const StageStats& stats, MatrixView w) {
  return !stats.residual.empty() && stats.residual.rows() == w.rows;
}

// A (H + damp I)^-1 for A given in natural order; group order out.
Result<Matrix> correction(const Context& context, const HessianFactor& factor, const Matrix& a, float scale,
                          Progress* progress) {
  Matrix y(a.rows(), a.cols());
  QZ_TRY(for_each_row(context, a.rows(), [&](int64_t r) {
    for (int64_t c = 0; c < a.cols(); c++) y.row(r)[c] = a.row(r)[factor.natural[static_cast<size_t>(c)]] * scale;
  }));
  QZ_TRY(solve_rows(context, factor, &y, progress));
  return y;
}

Result<Matrix> to_natural(const Context& context, const HessianFactor& factor, const Matrix& a) {
  Matrix y(a.rows(), a.cols());
  QZ_TRY(for_each_row(context, a.rows(), [&](int64_t r) {
    for (int64_t c = 0; c < a.cols(); c++) y.row(r)[factor.natural[static_cast<size_t>(c)]] = a.row(r)[c];
  }));
  return y;
}

// min over a, b in [0, 1] of |g - a p - b q|^2, from the inner products.
void best_strengths(double pp, double qq, double pq, double gp, double gq, double* a, double* b) {
  const double det = pp * qq - pq * pq;
  if (qq <= 0 || det <= 1e-12 * pp * qq) {
    *a = pp > 0 ? std::clamp(gp / pp, 0.0, 1.0) : 0;
    *b = 0;
    return;
  }
  *a = (gp * qq - gq * pq) / det;
  *b = (gq * pp - gp * pq) / det;
  if (*a >= 0 && *a <= 1 && *b >= 0 && *b <= 1) return;
  // The minimum of a convex quadratic over the square lies on an edge: try the four.
  double best = std::numeric_limits<double>::infinity();
  auto consider = [&](double x, double y) {
    const double cost = x * x * pp + y * y * qq + 2 * x * y * pq - 2 * x * gp - 2 * y * gq;
    if (cost < best) best = cost, *a = x, *b = y;
  };
  for (const double x : {0.0, 1.0}) consider(x, std::clamp((gq - x * pq) / qq, 0.0, 1.0));
  for (const double y : {0.0, 1.0}) consider(pp > 0 ? std::clamp((gp - y * pq) / pp, 0.0, 1.0) : 0, y);
}

}  // namespace

Result<HeldOut> held_out(const Context& context, MatrixView w, const StageStats& stats, Progress* progress) {
  HeldOut held;
  if (stats.held_x.rows() == 0) return held;
  QZ_ASSIGN(Matrix want, outputs(context, stats.held_x, w, progress));
  if (stats.held_dx.empty()) {
    held.gap = Matrix(want.rows(), want.cols());
  } else {
    QZ_ASSIGN(held.gap, outputs(context, stats.held_dx, w, progress));
    QZ_TRY(add(context, held.gap, &want));
  }
  QZ_ASSIGN(held.norm, dot(context, want, want));
  if (writes_residual(stats, w) && !stats.held_dr.empty()) QZ_TRY(add(context, stats.held_dr, &held.gap));
  return held;
}

Result<Target> make_target(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                           const HeldOut& held, const GptqOptions& options, Progress* progress) {
  Target out;
  out.w = Matrix(w.rows, w.cols);
  QZ_TRY(for_each_row(context, w.rows, [&](int64_t r) {
    for (int64_t c = 0; c < w.cols; c++) out.w.row(r)[c] = w.row(r)[factor.natural[static_cast<size_t>(c)]];
  }));
  if (stats.drift.empty()) return out;
  const bool residual = writes_residual(stats, w) && options.residual != 0;
  if (options.drift == 0 && !residual) return out;

  const float inv = 1.0f / static_cast<float>(stats.tokens);
  Matrix by_drift, by_residual;
  if (options.drift != 0) {
    Matrix a(w.rows, w.cols);
    QZ_TRY(gemm_nn(context, w, stats.drift.view(), 1.0f, a.data(), w.cols, progress));
    QZ_ASSIGN(by_drift, correction(context, factor, a, inv, progress));
  }
  if (residual) {
    QZ_ASSIGN(by_residual, correction(context, factor, stats.residual, inv, progress));
  }
  out.drift = options.drift == kChosen ? 1 : options.drift;
  out.residual = !residual ? 0 : options.residual == kChosen ? 1 : options.residual;
  if ((options.drift == kChosen || (residual && options.residual == kChosen)) && !held.gap.empty()) {
    // g: what the output lacks; p, q: what full corrections would add.
    const Matrix& g = held.gap;
    Matrix p, q;
    if (!by_drift.empty()) {
      QZ_ASSIGN(const Matrix natural, to_natural(context, factor, by_drift));
      QZ_ASSIGN(p, outputs(context, stats.held_x, natural.view(), progress));
    }
    if (residual) {
      QZ_ASSIGN(const Matrix natural, to_natural(context, factor, by_residual));
      QZ_ASSIGN(q, outputs(context, stats.held_x, natural.view(), progress));
    }
    QZ_ASSIGN(double pp, dot(context, p, p));
    QZ_ASSIGN(double qq, dot(context, q, q));
    QZ_ASSIGN(double pq, dot(context, p, q));
    QZ_ASSIGN(double gp, dot(context, g, p));
    QZ_ASSIGN(double gq, dot(context, g, q));
    if (options.drift != kChosen) gq -= out.drift * pq, pp = 0, gp = 0, pq = 0;
    if (residual && options.residual != kChosen) gp -= out.residual * pq, qq = 0, gq = 0, pq = 0;
    double a = 0, b = 0;
    if (pp == 0 && qq > 0)
      b = std::clamp(gq / qq, 0.0, 1.0);
    else
      best_strengths(pp, qq, pq, gp, gq, &a, &b);
    if (options.drift == kChosen) out.drift = a;
    if (residual && options.residual == kChosen) out.residual = b;
  }
  const float a = static_cast<float>(out.drift), b = static_cast<float>(out.residual);
  QZ_ASSIGN(const double wrong, sum_over_rows(context, w.rows, [&](int64_t r) {
              float *row = out.w.row(r), none = 0;
              for (int64_t c = 0; c < w.cols && !by_drift.empty(); c++) row[c] += a * by_drift.row(r)[c];
              for (int64_t c = 0; c < w.cols && residual; c++) row[c] += b * by_residual.row(r)[c];
              for (int64_t c = 0; c < w.cols; c++) none += row[c] * 0;  // NaN if one is not finite
              return none == 0 ? 0.0 : 1.0;
            }));
  if (wrong > 0) return error(Code::kNumeric, "the corrected target has NaN or infinity");
  return out;
}

Result<double> held_out_error(const Context& context, MatrixView w, MatrixView wq, const StageStats& stats,
                              const HeldOut& held, Progress* progress) {
  if (held.gap.empty()) return std::numeric_limits<double>::quiet_NaN();
  if (held.norm == 0) return 0.0;
  Matrix change(w.rows, w.cols);
  QZ_TRY(for_each_row(context, w.rows, [&](int64_t r) {
    for (int64_t c = 0; c < w.cols; c++) change.row(r)[c] = wq.row(r)[c] - w.row(r)[c];
  }));
  QZ_ASSIGN(Matrix y, outputs(context, stats.held_x, change.view(), progress));
  QZ_TRY(for_each_row(context, y.rows(), [&](int64_t r) {
    for (int64_t c = 0; c < y.cols(); c++) y.row(r)[c] -= held.gap.row(r)[c];
  }));
  QZ_ASSIGN(const double sum, dot(context, y, y));
  return sum / held.norm;
}

}  // namespace qz
