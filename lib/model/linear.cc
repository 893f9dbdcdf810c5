// Linear layers whose weights stay as they are stored: rows become float32 inside the product, a piece at a time, or
// codes are multiplied as they are.
#include <cassert>
#include <cstring>

#include "kernels/gemm.h"
#include "model/block.h"
#include "model/scratch.h"
#include "packed/tiles.h"
#include "tensor/convert.h"

namespace qz {
namespace {

void fetch_quantized(const void* self, int64_t r, int64_t c0, int64_t c1, float* out) {
  dequantize_part(*static_cast<const QMatrix*>(self), r, c0, c1, out);
}

}  // namespace

void Linear::set_dense(std::vector<uint8_t> bytes, DType dtype) {
  assert(bytes.size() * 8 == static_cast<size_t>(rows * cols) * dtype_bits(dtype));
  bytes_ = std::move(bytes);
  dtype_ = dtype;
  f32_ = Matrix();
  q_ = nullptr;
  tiles_ = nullptr;
}

void Linear::set_f32(Matrix w) {
  assert(w.rows() == rows && w.cols() == cols);
  f32_ = std::move(w);
  bytes_ = std::vector<uint8_t>();  // `= {}` would keep the memory
  q_ = nullptr;
  tiles_ = nullptr;
}

void Linear::set_matrix(std::shared_ptr<const QMatrix> q) {
  assert(q->rows == rows && q->cols == cols);
  q_ = std::move(q);
  bytes_ = std::vector<uint8_t>();  // `= {}` would keep the memory
  f32_ = Matrix();
  tiles_ = nullptr;
}

Status Linear::tile(const Context& context) {
  if (q_ == nullptr || !can_tile(*q_)) return {};
  QZ_ASSIGN(TiledWeights tiles, tile_matrix(context, *q_));
  inputs_ = input_rule(*q_);
  if (inputs_.activations != Activations::kNone && !takes_integers(*q_, tiles)) return {};
  tiles_ = std::make_shared<const TiledWeights>(std::move(tiles));
  q_ = nullptr;
  return {};
}

Status Linear::apply(const Context& context, MatrixView x, bool accumulate, float* y, Progress* progress) const {
  return apply_strided(context, x, accumulate, y, rows, progress);
}

Status Linear::apply_strided(const Context& context, MatrixView x, bool accumulate, float* y, int64_t stride,
                             Progress* progress) const {
  assert(x.cols == cols);
  const float* b = bias.empty() ? nullptr : bias.data();
  if (tiles_ != nullptr) {
    const MutableRows out{y, DType::kF32, stride};
    if (inputs_.activations != Activations::kNone)
      return integer_product(context, inputs_, *tiles_, x, b, accumulate, out, progress);
    if (context.products == Products::kBytes && takes_bytes(*tiles_))
      return rounded_product(context, *tiles_, x, b, accumulate, out, progress);
    return low_bit_product(context, *tiles_, {x.data, DType::kF32, x.rows, x.cols, x.stride}, b, accumulate, out,
                           progress);
  }
  if (q_ != nullptr) {
    const WeightRows w{rows, cols, q_.get(), fetch_quantized};
    if (q_->scheme.activations != Activations::kNone) {
      Scratch rounded(x.rows * cols);
      quantize_inputs(*q_, x, rounded.data());
      return gemm_nt(context, rounded.view(x.rows, cols), w, b, accumulate, y, stride, progress);
    }
    return gemm_nt(context, x, w, b, accumulate, y, stride, progress);
  }
  const DenseWeight dense{f32_.empty() ? static_cast<const void*>(bytes_.data()) : f32_.data(),
                          f32_.empty() ? dtype_ : DType::kF32, rows, cols};
  return gemm_nt(context, x, weight_rows(dense), b, accumulate, y, stride, progress);
}

Matrix Linear::to_f32() const {
  if (q_ != nullptr) return dequantize(*q_);
  if (!f32_.empty()) return f32_;
  Matrix w(rows, cols);
  if (tiles_ != nullptr) {
    for (int64_t r = 0; r < rows; ++r) expand_row(*tiles_, r, w.row(r));
    return w;
  }
  qz::to_f32(bytes_.data(), dtype_, static_cast<size_t>(rows * cols), w.data());
  return w;
}

}  // namespace qz
