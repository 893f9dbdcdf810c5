// Products of 2 rows of a tile with 2 columns of x at once, as the matrix instructions of Armv8.6 make them: written
// once for bytes and for bfloat16. A word is what 32 bits of x hold, 4 bytes or 2 bfloat16; an instruction takes two
// words of each of 2 rows and 2 columns and adds to the 4 lanes of a square: row 0 and 1 of column 0, row 0 and 1 of
// column 1 being lanes 0, 2, 1 and 3.
#pragma once
#include "kernels/low_bit_neon.h"

namespace qz {
namespace {

// Rows of a tile that are taken together: as many sums as leave registers for the rest.
constexpr int rows_of_squares(int columns) { return columns <= 4 ? 16 : 8; }

template <class Sum, int kColumns>
struct Squares {
  static constexpr int kRows = rows_of_squares(kColumns), kPairs = (kColumns + 1) / 2;
  Sum sum[kRows / 2][kPairs];

  inline QZ_INLINE void clear() {
#pragma GCC unroll 8
    for (int i = 0; i < kRows / 2; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kPairs; ++j) sum[i][j] = Sum{};
    }
  }

  // first, second: words of kRows rows, four in a vector; x0, x1: those of the columns.
  template <class Multiply>
  inline QZ_INLINE void add(const uint32x4_t first[kRows / 4], const uint32x4_t second[kRows / 4], const uint32_t* x0,
                            const uint32_t* x1, const Multiply& multiply) {
    uint32x4_t columns[kPairs];
#pragma GCC unroll 4
    for (int j = 0; j < kPairs; ++j) {
      if (2 * j + 1 < kColumns) {
        const uint32x2_t v0 = vld1_u32(x0 + 2 * j), v1 = vld1_u32(x1 + 2 * j);
        columns[j] = vcombine_u32(vzip1_u32(v0, v1), vzip2_u32(v0, v1));
      } else {
        columns[j] = uint32x4_t{x0[2 * j], x1[2 * j], 0, 0};
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows / 4; ++r) {
      const uint32x4_t low = vzip1q_u32(first[r], second[r]), high = vzip2q_u32(first[r], second[r]);
#pragma GCC unroll 4
      for (int j = 0; j < kPairs; ++j) {
        sum[2 * r][j] = multiply(sum[2 * r][j], low, columns[j]);
        sum[2 * r + 1][j] = multiply(sum[2 * r + 1][j], high, columns[j]);
      }
    }
  }

  // Four rows of one column.
  inline QZ_INLINE uint32x4_t column(int rows, int c) const {
    uint32x4_t low, high;
    __builtin_memcpy(&low, &sum[2 * rows][c / 2], sizeof low);
    __builtin_memcpy(&high, &sum[2 * rows + 1][c / 2], sizeof high);
    return c % 2 == 0 ? vuzp1q_u32(low, high) : vuzp2q_u32(low, high);
  }
};

}  // namespace
}  // namespace qz
