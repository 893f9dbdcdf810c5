#include "method/columns.h"

#include <algorithm>

#include "base/checked.h"
#include "base/simd.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

constexpr int kLanes = 16;  // independent rows that go through the loop side by side

// Minimizes |(T - Q) R|^2 greedily: with E = T - Q, column j of E R is E_j R_jj + (sum over solved columns of E_i
// R_ij), so the best point for column j is t_j + sum / R_jj. In factor order solved columns have higher indices and
// R_ij becomes L[i][j].

// One block of `width` columns for kLanes rows, highest index first. All tiles are [width][kLanes].
//   sum: in: what later columns' errors left, sum_{i >= end} E_i L[i][j]; scratch afterwards
//   t: targets; in place: E_j = t_j - (quantized value)
//   lower: L at (block, block), row stride ld
QZ_SIMD_CLONES
void solve_lanes(float* t, float* sum, const float* scale, const float* inverse, const float* zero, const float* lower,
                 int64_t ld, int64_t width, const Points& points, float* code) {
  for (int64_t j = width - 1; j >= 0; j--) {
    const float pivot = 1 / lower[j * ld + j];
    float e[kLanes], aim[kLanes];
    for (int l = 0; l < kLanes; l++) aim[l] = t[j * kLanes + l] + sum[j * kLanes + l] * pivot;
    nearest_points<kLanes>(points, aim, inverse + j * kLanes, zero + j * kLanes, code + j * kLanes);
    for (int l = 0; l < kLanes; l++) {
      const float c = code[j * kLanes + l];
      e[l] = t[j * kLanes + l] - scale[j * kLanes + l] * (c - zero[j * kLanes + l]);
      t[j * kLanes + l] = e[l];
    }
    for (int64_t k = 0; k < j; k++) {
      const float r = lower[j * ld + k];
      for (int l = 0; l < kLanes; l++) sum[k * kLanes + l] += e[l] * r;
    }
  }
}

// The same for one chain of rows, the last row first. With G = M M^T, F = E R: |M^T F|^2, where cell (r, c) is M_rr
// F_rc plus sum over solved rows of M_r'r F_r'c: the point that makes it zero takes both sums along. All tiles are
// [rows][width].
//   sum: as above; in place: F
QZ_SIMD_CLONES
void solve_chain(float* t, float* sum, const float* scale, const float* inverse, const float* zero, const float* lower,
                 int64_t ld, int64_t rows, int64_t width, const float* ahead, const Points& points, float* shift,
                 float* code) {
  for (int64_t r = rows - 1; r >= 0; r--) {
    for (int64_t j = 0; j < width; j++) shift[j] = 0;
    for (int64_t s = r + 1; s < rows; s++) {
      const float a = ahead[r * rows + s];
      const float* f = sum + s * width;
      for (int64_t j = 0; j < width; j++) shift[j] += a * f[j];
    }
    float* own = sum + r * width;
    for (int64_t j = width - 1; j >= 0; j--) {
      const int64_t at = r * width + j;
      const float pivot = lower[j * ld + j], x = t[at];
      const float c = nearest_point(points, x + (own[j] + shift[j]) / pivot, inverse[at], zero[at]);
      code[at] = c;
      const float e = x - scale[at] * (c - zero[at]);
      t[at] = e;
      const float* l = lower + j * ld;
      for (int64_t k = 0; k < j; k++) own[k] += e * l[k];
      own[j] += e * pivot;
    }
  }
}

struct Job {
  MatrixView target;
  const HessianFactor& factor;
  const Grid& grid;
  const Lattice& lattice;
  Matrix errors;  // [rows][cols] factor order; columns >= end are final
  Matrix sums;    // [rows][block]
  std::vector<uint8_t> codes;
};

// Copies rows [r0, r0 + count) of the block into tiles, solves them, copies back. lanes: column-major tiles of kLanes
// rows.
void solve_tile(Job* job, int64_t r0, int64_t count, int64_t begin, int64_t width, const RowMetric::Chain* chain) {
  auto row_of = [&](int64_t r) { return chain ? static_cast<int64_t>(chain->order[static_cast<size_t>(r)]) : r0 + r; };
  const bool lanes = chain == nullptr;
  const int64_t rows = lanes ? kLanes : count, n = job->target.cols;
  auto at = [&](int64_t r, int64_t j) { return lanes ? j * kLanes + r : r * width + j; };
  std::vector<float> buffer(static_cast<size_t>(6 * rows * width + width), 1.0f);  // unused lanes: harmless ones
  float *t = buffer.data(), *sum = t + rows * width, *scale = sum + rows * width, *inverse = scale + rows * width,
        *zero = inverse + rows * width, *code = zero + rows * width, *shift = code + rows * width;
  for (int64_t r = 0; r < count; r++)
    for (int64_t j = 0; j < width; j++) {
      const int64_t c = job->factor.order[static_cast<size_t>(begin + j)];
      const size_t g = static_cast<size_t>(job->grid.at(row_of(r), c / job->lattice.group));
      t[at(r, j)] = job->target.row(row_of(r))[c];
      sum[at(r, j)] = job->sums.row(row_of(r))[j];
      scale[at(r, j)] = job->grid.scale[g];
      inverse[at(r, j)] = job->grid.inverse[g];
      zero[at(r, j)] = job->grid.zero[g];
    }
  const float* lower = job->factor.lower.row(begin) + begin;
  if (lanes)
    solve_lanes(t, sum, scale, inverse, zero, lower, n, width, job->lattice.points, code);
  else
    solve_chain(t, sum, scale, inverse, zero, lower, n, rows, width, chain->ahead.data(), job->lattice.points, shift,
                code);
  for (int64_t r = 0; r < count; r++)
    for (int64_t j = 0; j < width; j++) {
      const int64_t c = job->factor.order[static_cast<size_t>(begin + j)];
      job->errors.row(row_of(r))[begin + j] = t[at(r, j)];
      job->codes[static_cast<size_t>(row_of(r) * n + c)] = job->lattice.points.code(code[at(r, j)]);
    }
}

}  // namespace

Result<std::vector<uint8_t>> solve_columns(const Context& context, MatrixView target, const HessianFactor& factor,
                                           const RowMetric& metric, const Grid& grid, const Lattice& lattice,
                                           int64_t block, Progress* progress) {
  const int64_t rows = target.rows, n = target.cols;
  Job job{target,
          factor,
          grid,
          lattice,
          Matrix(rows, n),
          Matrix(rows, block),
          std::vector<uint8_t>(static_cast<size_t>(rows * n))};
  const uint32_t tasks =
      static_cast<uint32_t>(metric.identity() ? ceil_div(rows, kLanes) : static_cast<int64_t>(metric.chains.size()));
  for (int64_t end = n; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - block), width = end - begin;
    std::fill(job.sums.data(), job.sums.data() + rows * block, 0.0f);
    if (end < n) {
      const MatrixView solved = {job.errors.data() + end, rows, n - end, n};
      const MatrixView below = {factor.lower.row(end) + begin, n - end, width, n};
      QZ_TRY(gemm_nn(context, solved, below, 1.0f, job.sums.data(), block, progress));
    }
    QZ_TRY(parallel_for(
        context, tasks,
        [&](uint32_t task, uint32_t) {
          if (metric.identity()) {
            const int64_t r0 = static_cast<int64_t>(task) * kLanes;
            solve_tile(&job, r0, std::min<int64_t>(kLanes, rows - r0), begin, width, nullptr);
          } else {
            const RowMetric::Chain& chain = metric.chains[task];
            solve_tile(&job, 0, chain.rows, begin, width, &chain);
          }
          return Status();
        },
        progress));
    end = begin;
  }
  return std::move(job.codes);
}

}  // namespace qz
