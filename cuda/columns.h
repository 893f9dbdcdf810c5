// The body of GPTQ's loop over one block of columns: codes one after another, each column's error carried to the
// columns of the block that are still open. The arithmetic is that of lib/method/columns.cc, operation by operation and
// in the same order, never contracted, so that one block gives the same bits.
//
// A warp has kColumnsRows rows, lane l their columns l, l + 32, l + 64 and l + 96: the lane of the column at hand finds
// its code, the others get the error from it. Rows beside each other hide how long that takes. The block's triangle of
// the factor lies in shared memory.
#pragma once
#include "args.h"

namespace qz::cuda {

constexpr int32_t kColumnsThreads = 256;
constexpr int32_t kColumnsRows = 4;  // of a warp
constexpr int32_t kColumnsBlockRows = kColumnsThreads / 32 * kColumnsRows;
constexpr int32_t kColumnsLane = kColumnsWidth / 32;  // columns of a lane

// Place of L[row][col] in the packed triangle; 1 / L[row][row] takes the place of the diagonal.
QZ_BOTH constexpr int32_t triangle_place(int32_t row, int32_t col) { return row * (row + 1) / 2 + col; }
constexpr int32_t kTriangle = kColumnsWidth * (kColumnsWidth + 1) / 2;

// round(x * inverse + zero) within [0, most], ties to even: method/range.h, nearest_code().
template <class Ops>
QZ_BOTH inline float nearest_column_code(Ops& ops, float x, float inverse, float zero, float most) {
  float v = ops.add(ops.mul(x, inverse), zero);
  v = v < 0 ? 0 : v;
  v = v > most ? most : v;
  return ops.add(ops.add(v, 12582912.0f), -12582912.0f);
}

// Block i has rows from 32 i on.
template <class Ops>
QZ_BOTH inline void columns_body(const ColumnsArgs& a, Ops& ops) {
  float* triangle = ops.shared();
  const int32_t lane = ops.thread() % 32, warp = ops.thread() / 32;
  for (int32_t row = warp; row < a.width; row += kColumnsThreads / 32) {
    const float* from = a.lower + int64_t{a.begin + row} * a.cols + a.begin;
    for (int32_t col = lane; col <= row; col += 32) {
      const float l = ops.load_float32(from + col);
      triangle[triangle_place(row, col)] = col == row ? ops.div(1.0f, l) : l;
    }
  }
  ops.sync();

  float t[kColumnsRows][kColumnsLane], sum[kColumnsRows][kColumnsLane], code[kColumnsRows][kColumnsLane];
  float scale[kColumnsRows][kColumnsLane], inverse[kColumnsRows][kColumnsLane], zero[kColumnsRows][kColumnsLane];
  int32_t place[kColumnsLane];  // of the lane's columns, in group order
  const int32_t row0 = ops.block() * kColumnsBlockRows + warp * kColumnsRows;
#pragma unroll
  for (int32_t i = 0; i < kColumnsLane; ++i) {
    const int32_t col = i * 32 + lane;
    place[i] = col < a.width ? static_cast<int32_t>(ops.load_4(a.order + a.begin + col)) : 0;
    const int32_t g = place[i] / a.group;
#pragma unroll
    for (int32_t r = 0; r < kColumnsRows; ++r) {
      const int64_t row = row0 + r < a.rows ? row0 + r : a.rows - 1;  // what comes of a row too many is not stored
      t[r][i] = ops.load_float32(a.target + row * a.cols + place[i]);
      sum[r][i] = a.sums && col < a.width ? ops.load_float32(a.sums + row * kColumnsWidth + col) : 0.0f;
      scale[r][i] = ops.load_float32(a.scale + row * a.groups + g);
      zero[r][i] = ops.load_float32(a.zero + row * a.groups + g);
      inverse[r][i] = ops.div(1.0f, scale[r][i]);
      code[r][i] = 0;
    }
  }
#pragma unroll
  for (int32_t i = kColumnsLane - 1; i >= 0; --i) {
#pragma unroll 1
    for (int32_t from = 31; from >= 0; --from) {
      const int32_t j = i * 32 + from;
      if (j >= a.width) continue;
      const float* l = triangle + triangle_place(j, 0);
      const float pivot = l[j];
#pragma unroll
      for (int32_t r = 0; r < kColumnsRows; ++r) {
        const float aim = ops.add(t[r][i], ops.mul(sum[r][i], pivot));
        const float c = nearest_column_code(ops, aim, inverse[r][i], zero[r][i], a.most);
        const float own = ops.add(t[r][i], -ops.mul(scale[r][i], ops.add(c, -zero[r][i])));
        const float e = ops.shuffle(own, from);
        if (lane == from) t[r][i] = e, code[r][i] = c;
#pragma unroll
        for (int32_t k = 0; k <= i; ++k)
          if (k * 32 + lane < j) sum[r][k] = ops.add(sum[r][k], ops.mul(e, l[k * 32 + lane]));
      }
    }
  }
#pragma unroll
  for (int32_t i = 0; i < kColumnsLane; ++i) {
    if (i * 32 + lane >= a.width) continue;
#pragma unroll
    for (int32_t r = 0; r < kColumnsRows; ++r) {
      const int64_t row = row0 + r;
      if (row >= a.rows) continue;
      ops.store_8(a.codes + row * a.cols + place[i], static_cast<uint8_t>(code[r][i]));
      ops.store_float(a.errors, row * a.cols + a.begin + i * 32 + lane, Float::kF32, t[r][i]);
    }
  }
}

}  // namespace qz::cuda
