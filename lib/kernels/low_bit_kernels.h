// What one instruction set brings to products with weights of few bits: micro-kernels without allocation, threads or
// dispatch. engines.cc lists them; low_bit.cc drives them.
#pragma once
#include <cstdint>

#include "kernels/low_bit_layout.h"
#include "tensor/dtype.h"

namespace qz {

// One tile of 16 rows. Weight (row, place) = scale * (value of its code - offset), where a place is a column of the
// tile's own order (low_bit.h) and the value of a code is its table entry or, at 8 bits, code - 128.
struct TileView {
  const uint32_t* lines;  // low_bit_layout.h
  const void* scales;     // [groups][16] of scale_type
  const void* offsets;    // [groups][16] of offset_type; null: all zero
  const int32_t* starts;  // [groups + 1] first place of each group, whole units
  int64_t groups;
  const float* table;  // [16], repeated with period 2^bits; not of 8 bits
  DType scale_type, offset_type;
  int32_t bits;  // 2, 3, 4 or 8
  bool linear;   // table[code] = code - an integer: exact in bfloat16
};

constexpr int64_t kMostColumns = 8;

struct LowBitKernels {
  // out[c][16] = the tile times column c of x, in float32: x[place][columns]; sums[group][columns] = the sum of a
  // column over a group, read only where the tile has offsets. 1 <= columns <= kMostColumns.
  void (*product)(const TileView& w, const float* x, const float* sums, int64_t columns, float* out);
  // Weights of places [begin, end), whole units, in float32: out[place - begin][16], `stride` floats apart. The
  // rounding is that of scale * (value - offset), once.
  void (*expand)(const TileView& w, int64_t begin, int64_t end, float* out, int64_t stride);
};

// The same with x in bfloat16: products are exact, sums float32. Only of linear tables of up to 4 bits.
struct LowBitPairKernels {
  // x[place / 2][columns]: words of two places, the even one in the low half.
  void (*product)(const TileView& w, const uint32_t* x, const float* sums, int64_t columns, float* out);
};

// The same with x in 8 bits: integer sums of a group, then float32. Only of linear tables and of 2, 4 or 8 bits, in
// groups of at most kMostBytePlaces places.
struct LowBitByteKernels {
  // x[place / 4][columns]: words of four signed codes, byte b of word j of a unit of the place byte_place(bits, j, b).
  // factors[group][columns]: what a code of x stands for; sums[group][columns] of the codes of x.
  void (*product)(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums, int64_t columns,
                  float* out);
};
constexpr int64_t kMostBytePlaces = 1 << 16;  // 255 * 128 * 2^16 < 2^31

// x for the kernels that multiply blocks: rows in blocks of `rows` of them. A step is what 64 bytes hold of a row of x
// inside a group, the last one of a group filled up with zeros.
struct BlockedRows {
  const uint8_t* blocks;  // [blocks][steps][parts][rows][64]
  const void* sums;  // [blocks][groups][rows] of x over a group, float or int32_t; read only where the tile has offsets
  const float* factors;  // [blocks][groups][rows]: what a code of x stands for; of 8 bits only
  int64_t count, rows;   // blocks and rows of each: at most kMostBlocks, kMostBlockRows
  int64_t steps, parts;
};
constexpr int64_t kMostBlockRows = 16, kMostBlocks = 8, kBlockTiles = 4, kBlockColumns = kBlockTiles * kTileRows;
constexpr int64_t kBlockScratch = 64 << 10;

// Many rows of x at once, times kBlockTiles tiles that are alike: out[row][kBlockColumns]. scratch: kBlockScratch
// bytes, 64-byte aligned. Every row's result is the same, however many there are.
struct LowBitBlockKernels {
  // x: kPairPlaces places in a step, in bfloat16, as `parts` numbers whose sum is meant; any tiles. Products are exact
  // but where both x and the table are in parts: there what is below 2^-21 of one is left out. Sums are float32.
  void (*product)(const TileView* w, const BlockedRows& x, void* scratch, float* out);
  // x: kBytePlaces places in a step, signed bytes in the order of LowBitByteKernels; of the same tiles.
  void (*product_bytes)(const TileView* w, const BlockedRows& x, void* scratch, float* out);
  // From so many rows of x on they are faster than the kernels of columns of the same engine.
  int64_t least_rows, least_byte_rows;
};
constexpr int64_t kPairPlaces = 32, kBytePlaces = 64;

}  // namespace qz
