#include "method/cholesky.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/simd.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

// Halves of halves: nearly all work is products of large blocks. What is left at the bottom are diagonal blocks of
// kLeaf, and rows divided by them, kLanes at a time.
constexpr int64_t kLeaf = 64;
constexpr int kLanes = 16;
constexpr int64_t kRowsPerTask = 64;

int64_t first_half(int64_t n) { return ceil_div(ceil_div(n, kLeaf), 2) * kLeaf; }

// A diagonal block. Returns the columns that could be factored.
QZ_SIMD_CLONES
int64_t factor_leaf(float* a, int64_t n, int64_t stride) {
  float column[kLeaf];
  for (int64_t j = 0; j < n; j++) {
    const float square = a[j * stride + j];
    if (!(square > 0 && square < HUGE_VALF)) return j;
    const float pivot = std::sqrt(square);
    a[j * stride + j] = pivot;
    const float inverse = 1 / pivot;
    for (int64_t i = j + 1; i < n; i++) column[i] = a[i * stride + j] *= inverse;
    for (int64_t i = j + 1; i < n; i++) {
      const float l = column[i];
      float* row = a + i * stride;
      for (int64_t k = j + 1; k <= i; k++) row[k] -= l * column[k];
    }
  }
  return n;
}

// x L^-T (transposed: L^T row by row, its diagonal inverted) or x L^-1, for kLanes rows that lie side by side.
QZ_SIMD_CLONES
void divide_lanes(const float* l, int64_t n, float* x) {
  for (int64_t j = 0; j < n; j++) {
    float e[kLanes];
    for (int i = 0; i < kLanes; i++) e[i] = x[j * kLanes + i] *= l[j * kLeaf + j];
    for (int64_t k = j + 1; k < n; k++) {
      const float f = l[j * kLeaf + k];
      for (int i = 0; i < kLanes; i++) x[k * kLanes + i] -= e[i] * f;
    }
  }
}
QZ_SIMD_CLONES
void divide_lanes_back(const float* l, int64_t n, float* x) {
  for (int64_t j = n - 1; j >= 0; j--) {
    float e[kLanes];
    for (int i = 0; i < kLanes; i++) e[i] = x[j * kLanes + i] *= l[j * kLeaf + j];
    for (int64_t k = 0; k < j; k++) {
      const float f = l[j * kLeaf + k];
      for (int i = 0; i < kLanes; i++) x[k * kLanes + i] -= e[i] * f;
    }
  }
}

struct Rows {
  float* data;
  int64_t count, stride;
};

class Solver {
 public:
  Solver(const Context& context, Progress* progress) : context_(context), progress_(progress) {
    context_.products = Products::kExact;
  }

  Result<int64_t> factor(float* a, int64_t n, int64_t stride) const {
    if (n <= kLeaf) return factor_leaf(a, n, stride);
    const int64_t half = first_half(n), rest = n - half;
    QZ_ASSIGN(const int64_t done, factor(a, half, stride));
    if (done < half) return done;
    float *below = a + half * stride, *corner = below + half;
    QZ_TRY(divide(a, half, stride, {below, rest, stride}));
    const MatrixView left = {below, rest, half, stride};
    QZ_TRY(gemm_nt(context_, left, left, -1.0f, true, corner, stride, progress_));
    QZ_ASSIGN(const int64_t more, factor(corner, rest, stride));
    return half + more;
  }

  // x L^-T.
  Status divide(const float* l, int64_t n, int64_t stride, Rows x) const {
    if (n <= kLeaf) return leaf(l, n, stride, x, true);
    const int64_t half = first_half(n), rest = n - half;
    const float* below = l + half * stride;
    QZ_TRY(divide(l, half, stride, x));
    QZ_TRY(gemm_nt(context_, {x.data, x.count, half, x.stride}, {below, rest, half, stride}, -1.0f, false,
                   x.data + half, x.stride, progress_));
    return divide(below + half, rest, stride, {x.data + half, x.count, x.stride});
  }

  // x L^-1.
  Status divide_back(const float* l, int64_t n, int64_t stride, Rows x) const {
    if (n <= kLeaf) return leaf(l, n, stride, x, false);
    const int64_t half = first_half(n), rest = n - half;
    const float* below = l + half * stride;
    QZ_TRY(divide_back(below + half, rest, stride, {x.data + half, x.count, x.stride}));
    QZ_TRY(gemm_nn(context_, {x.data + half, x.count, rest, x.stride}, {below, rest, half, stride}, -1.0f, x.data,
                   x.stride, progress_));
    return divide_back(l, half, stride, x);
  }

 private:
  Status leaf(const float* l, int64_t n, int64_t stride, Rows x, bool transposed) const {
    float block[kLeaf * kLeaf];
    for (int64_t i = 0; i < n; i++) {
      for (int64_t j = 0; j < i; j++) block[transposed ? j * kLeaf + i : i * kLeaf + j] = l[i * stride + j];
      block[i * kLeaf + i] = 1 / l[i * stride + i];
    }
    const auto task = [&](uint32_t index, uint32_t) -> Status {
      const int64_t end = std::min(x.count, index * kRowsPerTask + kRowsPerTask);
      for (int64_t r = index * kRowsPerTask; r < end; r += kLanes) {
        const int64_t rows = std::min<int64_t>(kLanes, end - r);
        float tile[kLeaf * kLanes] = {};
        for (int64_t i = 0; i < rows; i++)
          for (int64_t j = 0; j < n; j++) tile[j * kLanes + i] = x.data[(r + i) * x.stride + j];
        if (transposed)
          divide_lanes(block, n, tile);
        else
          divide_lanes_back(block, n, tile);
        for (int64_t i = 0; i < rows; i++)
          for (int64_t j = 0; j < n; j++) x.data[(r + i) * x.stride + j] = tile[j * kLanes + i];
      }
      return {};
    };
    return parallel_for(context_, static_cast<uint32_t>(ceil_div(x.count, kRowsPerTask)), task, progress_);
  }

  Context context_;
  Progress* const progress_;
};

}  // namespace

Result<int64_t> cholesky(const Context& context, int64_t n, float* a, Progress* progress) {
  return Solver(context, progress).factor(a, n, n);
}

Status cholesky_solve(const Context& context, int64_t n, const float* lower, int64_t rows, float* x,
                      Progress* progress) {
  const Solver solver(context, progress);
  QZ_TRY(solver.divide(lower, n, n, {x, rows, n}));
  return solver.divide_back(lower, n, n, {x, rows, n});
}

}  // namespace qz
