// Which variant of the product for 9 to 64 tokens takes a request: a row of a list, the same on the device and on the
// host.
#pragma once
#include "ring.h"

namespace qz::cuda {

// Calls f.template operator()<Type, Ring>().
template <class F>
auto with_ring_variant(const ProductArgs& a, F&& f) {
  const auto of_group = [&]<class Type, int32_t kTiles, int32_t kParts>() {
    const bool fine = a.w.group != 0 && a.w.group < kBrickSide;
    return fine ? f.template operator()<Type, Ring<kTiles, kParts, true>>()
                : f.template operator()<Type, Ring<kTiles, kParts, false>>();
  };
  const auto of_tokens = [&]<class Type>() {
    if (a.m <= 16) return of_group.template operator()<Type, 2, 2>();
    if (a.m <= 32) return of_group.template operator()<Type, 4, 2>();
    return a.parts == 2 ? of_group.template operator()<Type, 8, 2>() : of_group.template operator()<Type, 8, 1>();
  };
  return a.type == Float::kF16 ? of_tokens.template operator()<Half>() : of_tokens.template operator()<Brain>();
}

// Blocks of rows.
template <class R>
QZ_BOTH constexpr int64_t ring_tiles(int64_t rows) {
  return (rows + R::kRows - 1) / R::kRows;
}

}  // namespace qz::cuda
