// The end of a product whose float32 sums lie in a workspace: bias, and one rounding.
#pragma once
#include "args.h"
#include "packed/layout.h"

namespace qz::cuda {

constexpr int32_t kFinishThreads = 256;

QZ_BOTH constexpr int32_t finish_blocks_of_row(int32_t rows) { return (rows + kFinishThreads - 1) / kFinishThreads; }

// Block i has 256 outputs of one token.
template <class Ops>
QZ_BOTH inline void finish_body(const FinishArgs& a, Ops& ops) {
  const int32_t wide = finish_blocks_of_row(a.rows);
  const int32_t token = ops.block() / wide, row = ops.block() % wide * kFinishThreads + ops.thread();
  if (row >= a.rows) return;
  const float sum = ops.load_float32(a.sums + int64_t{token} * a.rows + row) + ops.load_float32(a.bias + row);
  ops.store_float(a.y, token * a.y_stride + row, a.y_type, sum);
}

}  // namespace qz::cuda
