// Dense products in float32. Each output element is summed in an order that depends on the shapes only, never on the
// number of threads, so results are bit-identical for any pool.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/context.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace qz {

// The weight operand: rows x cols, whatever it is stored as. fetch writes cols [c0, c1) of one row as float32.
struct WeightRows {
  int64_t rows = 0, cols = 0;
  const void* self = nullptr;
  void (*fetch)(const void* self, int64_t row, int64_t c0, int64_t c1, float* out) = nullptr;
};
// A dense row-major matrix in F32, F16 or BF16 as WeightRows; `storage` must outlive it.
struct DenseWeight {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0, cols = 0;
};
WeightRows weight_rows(const DenseWeight& weight);  // keeps a pointer to `weight`

// y[m][n] = sum_k x[m][k] * w[n][k] + bias[n]; accumulate: y += instead of =. bias may be null. y has stride y_stride
// >= w.rows.
Status gemm_nt(const Context& context, MatrixView x, const WeightRows& w, const float* bias, bool accumulate, float* y,
               int64_t y_stride, Progress* progress = nullptr);

// c[i][j] += scale * sum_t a[t][i] * b[t][j], i < a.cols, j < b.cols, t < a.rows == b.rows.
// lower_only: only elements i >= j are promised (for the symmetric product of a with itself). Register tiles that the
// diagonal crosses are computed whole, so some elements above it change too; those with j - i >= 64 never do.
Status gemm_tn(const Context& context, MatrixView a, MatrixView b, float scale, bool lower_only, float* c,
               int64_t c_stride, Progress* progress = nullptr);

// The same for several left factors, b being prepared once: c += a^T b each.
struct LeftFactor {
  MatrixView a;
  bool lower_only = false;
  float* c = nullptr;
  int64_t c_stride = 0;
};
Status gemm_tn(const Context& context, const std::vector<LeftFactor>& left, MatrixView b, Progress* progress = nullptr);

// c[m][n] += scale * sum_k a[m][k] * b[k][n].
Status gemm_nn(const Context& context, MatrixView a, MatrixView b, float scale, float* c, int64_t c_stride,
               Progress* progress = nullptr);

// c[i][j] += scale * sum_k a[i][k] * b[j][k]. lower_only: as of gemm_tn.
Status gemm_nt(const Context& context, MatrixView a, MatrixView b, float scale, bool lower_only, float* c,
               int64_t c_stride, Progress* progress = nullptr);

// Name of the instruction set in use (engines.h): "avx512_amx", "ref".
const char* gemm_engine();
// That name, and of each better one why it is not in use, in words.
std::string engine_choice();
// For tests and benchmarks: force one; false if this CPU lacks it. "" = best again.
bool force_gemm_engine(const char* name);

// Bytes that a thread which starts a product of n columns over k keeps for the next one, and each thread that takes
// part.
size_t product_scratch(Products products, int64_t m, int64_t n, int64_t k);
size_t task_scratch();

}  // namespace qz
