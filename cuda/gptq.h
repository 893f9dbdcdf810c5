// GPTQ's operations, each a few launches on one stream.
#pragma once
#include "plan.h"
#include "runtime.h"

namespace qz::cuda {

// h += x^T x on and below the diagonal.
struct HessianArgs {
  const uint16_t* x;  // [m][x_stride] of `type`
  float* h;           // [cols][cols]
  int64_t x_stride;
  int32_t m, cols;
  Float type;
};

// Rows of a panel, which is multiplied with all columns up to its last: a twelfth of all, so that little more than half
// of the full product is computed.
constexpr int32_t hessian_panel(int32_t cols) {
  return (cols / 12 + kColumnsWidth - 1) / kColumnsWidth * kColumnsWidth + kColumnsWidth;
}

constexpr uint64_t hessian_workspace() { return kCounterBytes + kLibraryBytes; }
// The first block of columns needs no product.
constexpr bool columns_multiply(int32_t cols) { return cols > kColumnsWidth; }
constexpr uint64_t columns_workspace(int32_t rows, int32_t cols) {
  if (!columns_multiply(cols)) return 0;
  return kCounterBytes + aligned(static_cast<uint64_t>(rows) * kColumnsWidth * sizeof(float)) + kLibraryBytes;
}

Outcome run_hessian(const HessianArgs& args, int32_t device, void* stream, char* workspace);
// All blocks of columns from the last; begin, width and sums of args are ours to fill.
Outcome run_columns(ColumnsArgs args, int32_t device, void* stream, char* workspace);

}  // namespace qz::cuda
