#include "method/hessian.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/rows.h"
#include "method/cholesky.h"
#include "method/device_solver.h"

namespace qz {
namespace {

constexpr double kMaxDamp = 1.0;
constexpr double kOutlier = 8;  // times the median: what a column may count at most in the mean of diag(H)

// The mean of the diagonal with outliers cut: a few loud channels must not decide how strongly all the others are
// damped.
double typical_mean(const std::vector<float>& diag) {
  std::vector<float> alive;
  for (const float d : diag)
    if (d > 0) alive.push_back(d);
  std::nth_element(alive.begin(), alive.begin() + static_cast<int64_t>(alive.size() / 2), alive.end());
  const double most = kOutlier * static_cast<double>(alive[alive.size() / 2]);
  double sum = 0;
  for (const float d : diag) sum += std::min(static_cast<double>(d), most);
  return sum / static_cast<double>(diag.size());
}

// Factors h + damp*mean into `lower`, in factor order. false: not positive definite.
Result<bool> try_factor(const Context& context, const HessianFactor& f, double add, Matrix* lower) {
  QZ_TRY(for_each_row(context, f.cols, [&](int64_t i) {
    const float* src = f.h.row(f.order[static_cast<size_t>(i)]);
    float* dst = lower->row(i);
    for (int64_t j = 0; j <= i; j++) dst[j] = src[f.order[static_cast<size_t>(j)]];
    dst[i] += static_cast<float>(add);
  }));
  std::optional<int64_t> done;
  if (f.device) {
    QZ_ASSIGN(done, f.device->cholesky(f.cols, lower->data()));
  }
  if (!done) {
    QZ_ASSIGN(done, cholesky(context, f.cols, lower->data()));
  }
  return *done == f.cols;
}

}  // namespace

Result<HessianFactor> factor_hessian(const Context& context, const StageStats& stats, const GptqOptions& options,
                                     DeviceSolver* device) {
  const int64_t n = stats.cols;
  if (stats.tokens == 0) return error(Code::kNumeric, "no calibration token reached this input");
  HessianFactor f;
  f.cols = n;
  f.device = device;
  const float inv = 1.0f / static_cast<float>(stats.tokens);
  std::vector<float> diag(static_cast<size_t>(n));
  double sum = 0;
  for (int64_t j = 0; j < n; j++) {
    diag[static_cast<size_t>(j)] = stats.h.row(j)[j] * inv;
    sum += diag[static_cast<size_t>(j)];
    if (!(diag[static_cast<size_t>(j)] > 0)) f.dead++;
  }
  if (!std::isfinite(sum)) return error(Code::kNumeric, "the Hessian has NaN or infinity: the activations overflow");
  if (!(sum > 0)) return error(Code::kNumeric, "the Hessian is zero: every activation is zero");
  const double mean = typical_mean(diag);

  std::vector<int32_t> falling(static_cast<size_t>(n));
  std::iota(falling.begin(), falling.end(), 0);
  if (options.order != Order::kNone)
    std::stable_sort(falling.begin(), falling.end(),
                     [&](int32_t a, int32_t b) { return diag[static_cast<size_t>(a)] > diag[static_cast<size_t>(b)]; });

  f.natural.resize(static_cast<size_t>(n));
  f.order.resize(static_cast<size_t>(n));
  if (options.order == Order::kGidx) {
    f.natural = falling;
    for (int64_t j = 0; j < n; j++) f.order[static_cast<size_t>(j)] = static_cast<int32_t>(n - 1 - j);
  } else {
    std::iota(f.natural.begin(), f.natural.end(), 0);
    for (int64_t j = 0; j < n; j++) f.order[static_cast<size_t>(j)] = falling[static_cast<size_t>(n - 1 - j)];
  }

  f.h = Matrix(n, n);
  f.diag.resize(static_cast<size_t>(n));
  QZ_TRY(for_each_row(context, n, [&](int64_t i) {
    const float* src = stats.h.row(f.natural[static_cast<size_t>(i)]);
    float* dst = f.h.row(i);
    for (int64_t j = 0; j < n; j++) dst[j] = src[f.natural[static_cast<size_t>(j)]] * inv;
    f.diag[static_cast<size_t>(i)] = dst[i];
  }));

  // A dead column has a zero row and column: damping alone makes it a column of its own.
  f.lower = Matrix(n, n);
  for (f.damp = options.damp;; f.damp_steps++) {
    QZ_ASSIGN(const bool definite, try_factor(context, f, f.damp * mean, &f.lower));
    if (definite) break;
    if (f.damp >= kMaxDamp)
      return error(Code::kNumeric,
                   "the Hessian of %lld columns from %lld tokens is not positive definite, even with damping %g of its "
                   "mean diagonal",
                   static_cast<long long>(n), static_cast<long long>(stats.tokens), f.damp);
    f.damp = std::min(kMaxDamp, std::max(f.damp, 1e-4) * 10);
  }
  for (int64_t i = 0; i < n; i++) {
    f.h.row(i)[i] += static_cast<float>(f.damp * mean);
    std::memset(f.lower.row(i) + i + 1, 0, static_cast<size_t>(n - 1 - i) * sizeof(float));
  }
  return f;
}

Status solve_rows(const Context& context, const HessianFactor& factor, Matrix* y, Progress* progress) {
  const int64_t n = factor.cols;
  Matrix b(std::min(kSolvedTogether, y->rows()), n);  // factor order
  std::unique_ptr<DeviceCholesky> there;
  if (factor.device && y->rows() > 0) {
    QZ_ASSIGN(there, factor.device->solver(n, factor.lower.data(), b.rows()));
  }
  for (int64_t first = 0; first < y->rows(); first += kSolvedTogether) {
    const int64_t rows = std::min(kSolvedTogether, y->rows() - first);
    QZ_TRY(for_each_row(context, rows, [&](int64_t r) {
      for (int64_t j = 0; j < n; j++) b.row(r)[j] = y->row(first + r)[factor.order[static_cast<size_t>(j)]];
    }));
    QZ_TRY(there ? there->solve(rows, b.data())
                 : cholesky_solve(context, n, factor.lower.data(), rows, b.data(), progress));
    QZ_TRY(for_each_row(context, rows, [&](int64_t r) {
      for (int64_t j = 0; j < n; j++) y->row(first + r)[factor.order[static_cast<size_t>(j)]] = b.row(r)[j];
    }));
  }
  return {};
}

}  // namespace qz
