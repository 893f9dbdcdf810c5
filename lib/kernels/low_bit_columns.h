// x as the kernels of low_bit_kernels.h read it: places instead of columns, a few rows of x side by side, bfloat16
// parts.
#pragma once
#include <cstdint>

#include "kernels/low_bit.h"

namespace qz {

// How many bfloat16 numbers have a number of x as their sum.
inline int64_t parts_of(const Rows& x) {
  return x.rounded || x.dtype == DType::kBF16 ? 1 : x.dtype == DType::kF16 ? 2 : 3;
}

// Rows [first, first + count) of x, in float32: columns[place][count], sums[group][count]. row: room for places floats.
void make_columns(const TiledWeights& w, const Rows& x, int64_t first, int64_t count, float* row, float* columns,
                  float* sums);
// The same in bfloat16, every row as parts_of(x) columns, the largest part first: columns[place / 2][count *
// parts]. row: room for 2 * places floats.
void make_pair_columns(const TiledWeights& w, const Rows& x, int64_t first, int64_t count, float* row,
                       uint32_t* columns, float* sums);
// Rows [first, first + count) of x in 8 bits, as low_bit_kernels.h wants them: columns[place / 4][count],
// factors[group][count], sums[group][count]. row: room for places bytes.
void make_byte_columns(const TiledWeights& w, const ByteRows& x, int64_t first, int64_t count, int8_t* row,
                       uint32_t* columns, float* factors, int32_t* sums);
// One row of it: places bytes, sums `columns` apart.
void byte_row(const TiledWeights& w, const int8_t* codes, int8_t* out, int32_t* sums, int64_t columns);
// The upper half of each float as a bfloat16, and in x what remains.
void cut_part(float* x, int64_t n, uint16_t* part);
// Of a row by places over every group, `columns` apart.
void sums_of_groups(const TiledWeights& w, const float* row, int64_t columns, float* sums);
// Row i of x in float32, by places.
void row_by_places(const TiledWeights& w, const Rows& x, int64_t i, float* out);

}  // namespace qz
