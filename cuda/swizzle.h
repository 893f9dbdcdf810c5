// Tiles of 16-bit floats in shared memory, rows of 64 (128 bytes) one after another, their 16-byte chunks exchanged by
// the row: eight rows' chunks of the same columns then lie in eight different groups of banks. It is the 128-byte
// swizzle of wgmma (PTX ISA, "Shared Memory Matrix Layout"), whose tiles begin at multiples of 1,024 bytes.
#pragma once
#include "packed/layout.h"

namespace qz::cuda {

constexpr int32_t kTileRowBytes = 128;
constexpr int32_t kTileChunks = kTileRowBytes / 16;

// Bytes from the tile's begin to the chunk's.
QZ_BOTH constexpr int32_t tile_place(int32_t row, int32_t chunk) {
  return row * kTileRowBytes + (chunk ^ (row & 7)) * 16;
}

// The descriptor by which wgmma finds such a tile, or the columns from a multiple of 16 on (32 bytes further): the
// address in shared memory, 1,024 bytes from eight rows to the next eight, swizzle 1 (of 128 bytes).
QZ_BOTH constexpr uint64_t tile_descriptor(uint32_t address) {
  return uint64_t{(address & 0x3ffff) >> 4} | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

}  // namespace qz::cuda
