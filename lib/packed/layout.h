// Where codes, scales and zero points of a matrix in bricks lie: the layout of 4-bit weights that GPU kernels read.
// Shared by the packer (packed/bricks.h), the kernels (cuda/) and the tests; no other include, so that each of them can
// have it.
//
// An atom is 16 rows x 16 columns as the A operand of mma.m16n8k16 holds them (PTX ISA, "Matrix Fragments for
// mma.m16n8k16 with floating point type"): lane l has rows l / 4 and l / 4 + 8 and columns 2 (l % 4), + 1, + 8, + 9,
// eight codes, one word. The warps of wgmma.m64nNk16 with A in registers hold their 16 rows in the same way, so that
// one layout serves both. A brick is 64 rows x 64 columns: [4 tiles of 16 rows][32 lanes][4 atoms], so that a lane
// reads 16 bytes and a warp 512 bytes next to each other. Bricks of a stripe of 64 rows follow each other.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define QZ_BOTH __host__ __device__
#else
#define QZ_BOTH
#endif

namespace qz {

constexpr int32_t kBrickSide = 64;  // rows and columns; matrices are filled up to multiples of it
constexpr int32_t kBrickTiles = 4;  // of 16 rows
constexpr int32_t kBrickAtoms = 4;  // of 16 columns
constexpr int32_t kBrickLanes = 32;
constexpr int32_t kBrickWords = kBrickTiles * kBrickLanes * kBrickAtoms;

QZ_BOTH constexpr int64_t bricks_of(int64_t rows_or_cols) { return (rows_or_cols + kBrickSide - 1) / kBrickSide; }

// Of a whole row in groups of `group` columns; 0: one group.
QZ_BOTH constexpr int64_t brick_groups(int64_t cols, int32_t group) { return group ? (cols + group - 1) / group : 1; }

struct BrickPlace {
  int64_t word;   // of all words of the matrix
  int32_t shift;  // of the code's lowest bit
};

// Bits 4j ... 4j + 3 and 16 + 4j ... of a word are the two halves of register j of the fragment: (word >> 4j) &
// 0x000f000f.
QZ_BOTH constexpr BrickPlace brick_place(int64_t row, int64_t col, int64_t cols) {
  const int64_t brick = row / kBrickSide * bricks_of(cols) + col / kBrickSide;
  const auto r = static_cast<int32_t>(row % 16), c = static_cast<int32_t>(col % 16);
  const auto tile = static_cast<int32_t>(row % kBrickSide / 16), atom = static_cast<int32_t>(col % kBrickSide / 16);
  const int32_t lane = r % 8 * 4 + c % 8 / 2;
  const int32_t reg = r / 8 + c / 8 * 2;
  return {brick * kBrickWords + (tile * kBrickLanes + lane) * kBrickAtoms + atom, 4 * reg + 16 * (c % 2)};
}

struct BrickElement {
  int64_t row, col;
};

// The inverse: nibble 0 ... 7 counts from the lowest bits.
QZ_BOTH constexpr BrickElement brick_element(int64_t word, int32_t nibble, int64_t cols) {
  const int64_t brick = word / kBrickWords;
  const auto in = static_cast<int32_t>(word % kBrickWords);
  const int32_t atom = in % kBrickAtoms, lane = in / kBrickAtoms % kBrickLanes, tile = in / kBrickAtoms / kBrickLanes;
  const int32_t reg = nibble % 4, odd = nibble / 4;
  return {brick / bricks_of(cols) * kBrickSide + tile * 16 + lane / 4 + reg % 2 * 8,
          brick % bricks_of(cols) * kBrickSide + atom * 16 + lane % 4 * 2 + reg / 2 * 8 + odd};
}

// Of scales and zero points, [stripes][groups][64]: the two rows of a lane are neighbours.
QZ_BOTH constexpr int64_t brick_scale_place(int64_t row, int64_t g, int64_t groups) {
  const auto r = static_cast<int32_t>(row % 16);
  return (row / kBrickSide * groups + g) * kBrickSide + row % kBrickSide / 16 * 16 + r % 8 * 2 + r / 8;
}

}  // namespace qz
