#include "method/columns.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/simd.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

constexpr int kLanes = 16;  // rows that go through the loop side by side

// One block of `width` columns for kLanes rows, highest index first. All tiles are [width][kLanes].
//   sum:   in: what later columns' errors left, sum_{i >= end} E_i L[i][j]; scratch afterwards
//   t:     targets; in place: E_j = t_j - (quantized value)
//   lower: L at (block, block), row stride ld
QZ_SIMD_CLONES
void solve_block(float* t, float* sum, const float* scale, const float* inverse, const float* zero, const float* lower,
                 int64_t ld, int64_t width, float max_code, float* code) {
  for (int64_t j = width - 1; j >= 0; j--) {
    const float pivot = 1 / lower[j * ld + j];
    float e[kLanes];
    for (int l = 0; l < kLanes; l++) {
      const float x = t[j * kLanes + l];
      const float aim = x + sum[j * kLanes + l] * pivot;
      const float c = nearest_code(aim, inverse[j * kLanes + l], zero[j * kLanes + l], max_code);
      code[j * kLanes + l] = c;
      e[l] = x - scale[j * kLanes + l] * (c - zero[j * kLanes + l]);
      t[j * kLanes + l] = e[l];
    }
    for (int64_t k = 0; k < j; k++) {
      const float r = lower[j * ld + k];
      for (int l = 0; l < kLanes; l++) sum[k * kLanes + l] += e[l] * r;
    }
  }
}

}  // namespace

// Minimizes |(T - Q) R|^2 greedily: with E = T - Q, column j of E R is E_j R_jj + (sum over solved columns of E_i
// R_ij), so the best point for column j is t_j + sum / R_jj. In factor order solved columns have higher indices and
// R_ij becomes L[i][j].
Result<std::vector<uint8_t>> solve_columns(const Context& context, MatrixView target, const HessianFactor& factor,
                                           const Grid& grid, const Scheme& scheme, int64_t block, Progress* progress) {
  const int64_t rows = target.rows, n = target.cols, size = scheme.group_size(n);
  const float max_code = static_cast<float>(scheme.max_code());
  std::vector<uint8_t> codes(static_cast<size_t>(rows * n));
  Matrix errors(rows, n);  // factor order; columns >= end are final
  Matrix sums(rows, block);
  for (int64_t end = n; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - block), width = end - begin;
    std::fill(sums.data(), sums.data() + rows * block, 0.0f);
    if (end < n) {
      const MatrixView solved = {errors.data() + end, rows, n - end, n};
      const MatrixView below = {factor.lower.row(end) + begin, n - end, width, n};
      QZ_TRY(gemm_nn(context, solved, below, 1.0f, sums.data(), block, progress));
    }
    QZ_TRY(parallel_for(
        context, static_cast<uint32_t>(ceil_div(rows, kLanes)),
        [&](uint32_t task, uint32_t) {
          const int64_t r0 = task * kLanes, count = std::min<int64_t>(kLanes, rows - r0);
          std::vector<float> buffer(static_cast<size_t>(6 * width * kLanes), 1.0f);  // unused lanes: harmless ones
          float *t = buffer.data(), *sum = t + width * kLanes, *scale = sum + width * kLanes,
                *inverse = scale + width * kLanes, *zero = inverse + width * kLanes, *code = zero + width * kLanes;
          for (int64_t j = 0; j < width; j++) {
            const int64_t c = factor.order[static_cast<size_t>(begin + j)];
            for (int64_t l = 0; l < count; l++) {
              const size_t at = static_cast<size_t>(grid.at(r0 + l, c / size));
              t[j * kLanes + l] = target.row(r0 + l)[c];
              sum[j * kLanes + l] = sums.row(r0 + l)[j];
              scale[j * kLanes + l] = grid.scale[at];
              inverse[j * kLanes + l] = grid.inverse[at];
              zero[j * kLanes + l] = grid.zero[at];
            }
          }
          solve_block(t, sum, scale, inverse, zero, factor.lower.row(begin) + begin, n, width, max_code, code);
          for (int64_t j = 0; j < width; j++) {
            const int64_t c = factor.order[static_cast<size_t>(begin + j)];
            for (int64_t l = 0; l < count; l++) {
              errors.row(r0 + l)[begin + j] = t[j * kLanes + l];
              codes[static_cast<size_t>((r0 + l) * n + c)] = static_cast<uint8_t>(code[j * kLanes + l]);
            }
          }
          return Status();
        },
        progress));
    end = begin;
  }
  return codes;
}

}  // namespace qz
