// Where codes lie in a tile of 16 rows: the one description that the tiling, every kernel and the tests share.
//
// A tile is a run of units along k. A unit holds `columns` codes of each row in `lines` lines of 64 bytes; 32-bit lane
// r of a line belongs to row r. Widths that divide 16 put k even in the low and k odd in the high half of the lane,
// pair after pair from bit 0 up, so that one shift brings a pair to where a table of 16-bit values is looked up. Three
// bits: five such pairs in each half of three lines; the sixteenth pair is in the bits that remain, bit b of its codes
// in bit 15 of the halves of line b. Eight bits: bytes in order.
#pragma once
#include <cstdint>

namespace qz {

constexpr int64_t kTileRows = 16;
constexpr int64_t kLineWords = 16;  // 32-bit words of a line, one per row

struct TileLayout {
  int32_t bits, lines, columns;
};
constexpr TileLayout kTileLayouts[] = {{2, 1, 16}, {3, 3, 32}, {4, 1, 8}, {8, 1, 4}};

constexpr TileLayout tile_layout(int32_t bits) {
  return kTileLayouts[bits == 2 ? 0 : bits == 3 ? 1 : bits == 4 ? 2 : 3];
}

struct BitPlace {
  int32_t line, bit;
};
// Bit b of the code of column k of a unit.
constexpr BitPlace bit_place(int32_t bits, int32_t k, int32_t b) {
  if (bits == 8) return {0, 8 * k + b};
  const int32_t pair = k / 2, half = k % 2 * 16;
  if (bits == 3) {
    if (pair == 15) return {b, half + 15};
    return {pair / 5, half + pair % 5 * 3 + b};
  }
  return {0, half + pair * bits + b};
}

// Shifted by whole codes and masked, codes of 2, 4 and 8 bits stand in bytes: byte b of (lane >> j * bits) & mask holds
// this column of the unit.
constexpr int32_t byte_place(int32_t bits, int32_t j, int32_t b) {
  int32_t k = 0;
  while (bit_place(bits, k, 0).bit != 8 * b + j * bits) ++k;
  return k;
}

}  // namespace qz
