#include "method/target.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/checked.h"
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

double dot(const Matrix& a, const Matrix& b) {
  double total = 0;
  for (int64_t r = 0; r < a.rows(); r++) {
    double sum = 0;
    for (int64_t c = 0; c < a.cols(); c++) sum += static_cast<double>(a.row(r)[c]) * static_cast<double>(b.row(r)[c]);
    total += sum;
  }
  return total;
}

void add(const Matrix& a, Matrix* to) {
  for (int64_t i = 0; i < a.rows() * a.cols(); i++) to->data()[i] += a.data()[i];
}

bool writes_residual(const StageStats& stats, MatrixView w) {
  return !stats.residual.empty() && stats.residual.rows() == w.rows;
}

// A (H + damp I)^-1 for A given in natural order; group order out.
Result<Matrix> correction(const Context& context, const HessianFactor& factor, const Matrix& a, float scale,
                          Progress* progress) {
  Matrix y(a.rows(), a.cols());
  for (int64_t r = 0; r < a.rows(); r++)
    for (int64_t c = 0; c < a.cols(); c++) y.row(r)[c] = a.row(r)[factor.natural[static_cast<size_t>(c)]] * scale;
  QZ_TRY(solve_rows(context, factor, &y, progress));
  return y;
}

Matrix to_natural(const HessianFactor& factor, const Matrix& a) {
  Matrix y(a.rows(), a.cols());
  for (int64_t r = 0; r < a.rows(); r++)
    for (int64_t c = 0; c < a.cols(); c++) y.row(r)[factor.natural[static_cast<size_t>(c)]] = a.row(r)[c];
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
    add(held.gap, &want);
  }
  held.norm = dot(want, want);
  if (writes_residual(stats, w) && !stats.held_dr.empty()) add(stats.held_dr, &held.gap);
  return held;
}

Result<Target> make_target(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                           const HeldOut& held, const GptqOptions& options, Progress* progress) {
  Target out;
  out.w = Matrix(w.rows, w.cols);
  for (int64_t r = 0; r < w.rows; r++)
    for (int64_t c = 0; c < w.cols; c++) out.w.row(r)[c] = w.row(r)[factor.natural[static_cast<size_t>(c)]];
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
    Matrix p(g.rows(), g.cols()), q(g.rows(), g.cols());
    if (!by_drift.empty()) {
      QZ_ASSIGN(p, outputs(context, stats.held_x, to_natural(factor, by_drift).view(), progress));
    }
    if (residual) {
      QZ_ASSIGN(q, outputs(context, stats.held_x, to_natural(factor, by_residual).view(), progress));
    }
    double pp = dot(p, p), qq = residual ? dot(q, q) : 0, pq = dot(p, q), gp = dot(g, p), gq = dot(g, q);
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
  for (int64_t i = 0; i < w.rows * w.cols; i++) {
    if (!by_drift.empty()) out.w.data()[i] += a * by_drift.data()[i];
    if (residual) out.w.data()[i] += b * by_residual.data()[i];
    if (!std::isfinite(out.w.data()[i])) return error(Code::kNumeric, "the corrected target has NaN or infinity");
  }
  return out;
}

Result<double> held_out_error(const Context& context, MatrixView w, MatrixView wq, const StageStats& stats,
                              const HeldOut& held, Progress* progress) {
  if (held.gap.empty()) return std::numeric_limits<double>::quiet_NaN();
  if (held.norm == 0) return 0.0;
  Matrix change(w.rows, w.cols);
  for (int64_t r = 0; r < w.rows; r++)
    for (int64_t c = 0; c < w.cols; c++) change.row(r)[c] = wq.row(r)[c] - w.row(r)[c];
  QZ_ASSIGN(Matrix y, outputs(context, stats.held_x, change.view(), progress));
  for (int64_t i = 0; i < y.rows() * y.cols(); i++) y.data()[i] -= held.gap.data()[i];
  return dot(y, y) / held.norm;
}

}  // namespace qz
