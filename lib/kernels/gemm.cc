#include "kernels/gemm.h"

#include <algorithm>
#include <cassert>

#include "base/checked.h"
#include "kernels/engines.h"
#include "kernels/gemm_tiles.h"
#include "kernels/scratch.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// Up to this many rows of x, dot products over each fetched weight row beat packing.
constexpr int64_t kFewRows = 24;
// Weight rows taken together and columns fetched at a time on that path: 16 KiB, which stay in the first-level cache.
constexpr int64_t kTogether = 4, kPiece = 1024;
constexpr int64_t kWeightsPerTask = 1 << 18;

Status few_rows(const Context& context, MatrixView x, const WeightRows& w, const float* bias, bool accumulate, float* y,
                int64_t y_stride, Progress* progress) {
  const int64_t rows = round_up(std::clamp<int64_t>(kWeightsPerTask / std::max<int64_t>(w.cols, 1), 1, 256), kTogether);
  const GemmKernels& kernels = *engine().gemm;
  const auto task = [&](uint32_t index, uint32_t) -> Status {
    float* pieces = thread_scratch(kTogether * kPiece);
    if (!pieces) return error(Code::kOutOfMemory, "no memory for a piece of a weight row");
    const int64_t first = index * rows, last = std::min(first + rows, w.rows);
    for (int64_t n = first; n < last; n += kTogether) {
      const int64_t count = std::min(kTogether, last - n);
      float sums[kFewRows * kTogether] = {};
      for (int64_t k = 0; k < w.cols; k += kPiece) {
        const int64_t end = std::min(k + kPiece, w.cols);
        for (int64_t r = 0; r < count; ++r) w.fetch(w.self, n + r, k, end, pieces + r * kPiece);
        kernels.dots(x.data + k, x.stride, x.rows, pieces, kPiece, count, end - k, sums, kTogether);
      }
      for (int64_t i = 0; i < x.rows; ++i) {
        for (int64_t r = 0; r < count; ++r) {
          float& out = y[i * y_stride + n + r];
          out = (accumulate ? out : 0.0f) + (bias ? bias[n + r] : 0.0f) + sums[i * kTogether + r];
        }
      }
    }
    return {};
  };
  return parallel_for(context, static_cast<uint32_t>(ceil_div(w.rows, rows)), task, progress);
}

void add_bias(MatrixView x, const WeightRows& w, const float* bias, float* y, int64_t y_stride) {
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t n = 0; n < w.rows; ++n) y[i * y_stride + n] += bias[n];
  }
}

void fetch_dense(const void* self, int64_t row, int64_t c0, int64_t c1, float* out) {
  const auto& w = *static_cast<const DenseWeight*>(self);
  const int64_t bytes = dtype_bits(w.dtype) / 8;
  to_f32(static_cast<const uint8_t*>(w.data) + (row * w.cols + c0) * bytes, w.dtype, static_cast<size_t>(c1 - c0), out);
}

// A float32 matrix is packed from where it lies, without a copy.
Factor rows_of(const WeightRows& w) {
  if (w.fetch == fetch_dense) {
    const auto& dense = *static_cast<const DenseWeight*>(w.self);
    if (dense.dtype == DType::kF32) {
      return {Factor::Layout::kAcross, static_cast<const float*>(dense.data), dense.cols, nullptr};
    }
    if (dense.dtype == DType::kBF16) {
      return {Factor::Layout::kFetch, nullptr, dense.cols, &w, static_cast<const uint16_t*>(dense.data)};
    }
  }
  return {Factor::Layout::kFetch, nullptr, 0, &w};
}

Product sum_of_outer_products(const Context& context, MatrixView a, MatrixView b, float scale, bool lower_only,
                              float* c, int64_t c_stride) {
  assert(a.rows == b.rows && c_stride >= b.cols);
  Product product;
  product.a = {Factor::Layout::kAlong, a.data, a.stride, nullptr};
  product.b = {Factor::Layout::kAlong, b.data, b.stride, nullptr};
  product.m = a.cols, product.n = b.cols, product.k = a.rows;
  product.alpha = scale, product.lower_only = lower_only;
  product.c = c, product.c_stride = c_stride, product.products = context.products;
  return product;
}

}  // namespace

WeightRows weight_rows(const DenseWeight& weight) {
  assert(is_float(weight.dtype));
  return {weight.rows, weight.cols, &weight, fetch_dense};
}

Status gemm_nt(const Context& context, MatrixView x, const WeightRows& w, const float* bias, bool accumulate, float* y,
               int64_t y_stride, Progress* progress) {
  assert(x.cols == w.cols && y_stride >= w.rows);
  if (x.rows == 0 || w.rows == 0) return {};
  if (x.rows <= kFewRows) return few_rows(context, x, w, bias, accumulate, y, y_stride, progress);
  if (accumulate && bias) add_bias(x, w, bias, y, y_stride);
  Product product;
  product.a = {Factor::Layout::kAcross, x.data, x.stride, nullptr};
  product.b = rows_of(w);
  product.m = x.rows, product.n = w.rows, product.k = x.cols;
  product.accumulate = accumulate, product.bias = bias;
  product.c = y, product.c_stride = y_stride, product.products = context.products;
  return run_product(context, product, progress);
}

Status gemm_tn(const Context& context, MatrixView a, MatrixView b, float scale, bool lower_only, float* c,
               int64_t c_stride, Progress* progress) {
  return run_product(context, sum_of_outer_products(context, a, b, scale, lower_only, c, c_stride), progress);
}

Status gemm_tn(const Context& context, const std::vector<LeftFactor>& left, MatrixView b, Progress* progress) {
  std::vector<Product> products;
  for (const LeftFactor& l : left) {
    products.push_back(sum_of_outer_products(context, l.a, b, 1.0f, l.lower_only, l.c, l.c_stride));
  }
  return run_products(context, products, progress);
}

Status gemm_nt(const Context& context, MatrixView a, MatrixView b, float scale, bool lower_only, float* c,
               int64_t c_stride, Progress* progress) {
  assert(a.cols == b.cols && c_stride >= b.rows);
  Product product;
  product.a = {Factor::Layout::kAcross, a.data, a.stride, nullptr};
  product.b = {Factor::Layout::kAcross, b.data, b.stride, nullptr};
  product.m = a.rows, product.n = b.rows, product.k = a.cols;
  product.alpha = scale, product.lower_only = lower_only;
  product.c = c, product.c_stride = c_stride, product.products = context.products;
  return run_product(context, product, progress);
}

Status gemm_nn(const Context& context, MatrixView a, MatrixView b, float scale, float* c, int64_t c_stride,
               Progress* progress) {
  assert(a.cols == b.rows && c_stride >= b.cols);
  Product product;
  product.a = {Factor::Layout::kAcross, a.data, a.stride, nullptr};
  product.b = {Factor::Layout::kAlong, b.data, b.stride, nullptr};
  product.m = a.rows, product.n = b.cols, product.k = a.cols;
  product.alpha = scale;
  product.c = c, product.c_stride = c_stride, product.products = context.products;
  return run_product(context, product, progress);
}

}  // namespace qz
