// What the products of low_bit_body.h and low_bit_bytes_body.h share: in an unnamed namespace, since code compiled for
// a newer instruction set must not reach the linker under a name that another file also uses.
#pragma once
#include "kernels/low_bit_kernels.h"

#define QZ_INLINE __attribute__((always_inline))

namespace qz {
namespace {

// Vectors of a tile's rows that are summed up side by side. For few rows of x all of them, since reading the tile is
// the cost then, and a second pass over what the first has read would leave memory idle; for more rows of x registers
// are scarce.
constexpr int parts_at_once(int columns, int64_t lanes) {
  return columns <= 4 ? static_cast<int>(kTileRows / lanes) : 1;
}

// A loop that is written out at compile time.
template <int kFrom, int kTo, class Body>
inline QZ_INLINE void unrolled(const Body& body) {
  if constexpr (kFrom < kTo) {
    body.template operator()<kFrom>();
    unrolled<kFrom + 1, kTo>(body);
  }
}

}  // namespace
}  // namespace qz
