// Products with weights of few bits, which stay so in memory: y = x W^T + bias. Each output element is summed in an
// order that depends on the shapes and the instruction set only, never on the number of threads.
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "base/context.h"
#include "kernels/low_bit_kernels.h"
#include "tensor/dtype.h"

namespace qz {

// A matrix re-tiled for the kernels (packed/tiles.h makes one). Places are its columns in the order in which they are
// stored: group after group, each filled up to whole units.
struct TiledWeights {
  int64_t rows = 0, cols = 0;
  int32_t bits = 4;  // of a stored code: 2, 3, 4 or 8
  bool linear = true;
  float table[16] = {};
  std::vector<int32_t> starts;  // [groups + 1]
  std::vector<int32_t> order;   // [places] the column at each place, -1: none; empty: place = column
  DType scale_type = DType::kF32, offset_type = DType::kF32;
  AlignedBytes lines;            // [tiles][units][lines of a unit][64]
  AlignedBytes scales, offsets;  // [tiles][groups][16]; no offsets: all zero

  int64_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  int64_t groups() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t places() const { return starts.back(); }
  int64_t line_bytes() const;  // of one tile
  TileView tile(int64_t index) const;
  uint64_t bytes() const { return lines.size() + scales.size() + offsets.size(); }
};

// A row-major matrix of F32, F16 or BF16; stride in elements.
struct Rows {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0, cols = 0, stride = 0;
  bool rounded = false;  // low_bit_product() sets it: each number counts as rounded to BF16
};
struct MutableRows {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t stride = 0;
};

// y[m][n] = sum_k x[m][k] w[n][k] + bias[n], rounded once to y's type; accumulate: y += instead of =. bias may be null.
// x is used as it is, whatever its type: where the kernels multiply bfloat16, an F16 is the sum of two of them and an
// F32 that of three (a part below 2^-126 counts as zero). The entries of a table that is not linear are three, too.
// Where the context's products need not be exact and the kernels multiply bfloat16, x is rounded to it instead.
Status low_bit_product(const Context& context, const TiledWeights& w, const Rows& x, const float* bias, bool accumulate,
                       const MutableRows& y, Progress* progress = nullptr);

// x in 8 bits: x[i][k] = codes[i * cols + k] * factors[i * factors_of_row], or, with a factor for each group of w,
// * factors[i * factors_of_row + group].
struct ByteRows {
  const int8_t* codes = nullptr;
  const float* factors = nullptr;
  int64_t rows = 0, cols = 0, factors_of_row = 1;  // 1 or w.groups()
};
// Whether the kernels of bytes read w: integers of 2, 4 or 8 bits in groups whose sums fit 32 bits.
bool takes_bytes(const TiledWeights& w);
// The same product with integer sums inside groups, which are exact; every instruction set gives the same sums.
// takes_bytes(w) must hold.
Status low_bit_product_bytes(const Context& context, const TiledWeights& w, const ByteRows& x, const float* bias,
                             bool accumulate, const MutableRows& y, Progress* progress = nullptr);

// Weights of row r in float32, cols of them.
void expand_row(const TiledWeights& w, int64_t r, float* out);

}  // namespace qz
