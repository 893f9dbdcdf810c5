// The body of the kernel that writes a matrix out: one lane's 16 bytes of codes, 32 weights, per thread.
#pragma once
#include "args.h"
#include "packed/layout.h"

namespace qz::cuda {

constexpr int32_t kDequantizeThreads = 128;  // one brick: 4 warps of 16 rows

// Block i has brick i of the stripes, threads as in the layout.
template <class Ops>
QZ_BOTH inline void dequantize_body(const DequantizeArgs& a, Ops& ops) {
  const auto bricks = static_cast<int32_t>(bricks_of(a.w.cols));
  const int32_t stripe = a.first_stripe + ops.block() / bricks, brick = ops.block() % bricks;
  const int32_t tile = ops.thread() / 32, lane = ops.thread() % 32;
  const int64_t at = (int64_t{stripe} * bricks + brick) * kBrickWords;
  const auto words = ops.load_stream(a.w.codes + at + ops.thread() * kBrickAtoms);
  const int32_t row0 = stripe * kBrickSide + tile * 16 + lane / 4;
#pragma unroll
  for (int32_t atom = 0; atom < kBrickAtoms; ++atom) {
    const int32_t col0 = brick * kBrickSide + atom * 16 + lane % 4 * 2;
    const int32_t g = a.w.group ? col0 / a.w.group : 0;  // the same for all columns of an atom
    if (g >= a.w.groups) continue;                       // columns that only fill up
    for (int32_t nibble = 0; nibble < 8; ++nibble) {
      const int32_t row = row0 + nibble % 2 * 8, col = col0 + nibble % 4 / 2 * 8 + nibble / 4;
      if (row >= a.w.rows || col >= a.w.cols) continue;
      const int64_t place = brick_scale_place(row, g, a.w.groups);
      const int32_t zero = a.w.zeros ? ops.load_8(a.w.zeros + place) : a.w.zero;
      const auto code = static_cast<int32_t>(words.v[atom] >> (4 * nibble) & 15);
      const float value = ops.load_float(a.w.scales, place, a.w.scale) * static_cast<float>(code - zero);
      ops.store_float(a.out, int64_t{row - a.first_stripe * kBrickSide} * a.stride + col, a.type, value);
    }
  }
}

}  // namespace qz::cuda
