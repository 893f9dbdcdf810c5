// Which variant of the product for few tokens takes a request: a row of a list, the same on the device and on the host.
#pragma once
#include "stream.h"

namespace qz::cuda {

// Calls f.template operator()<Type, kTiles, kAtoms>().
template <class F>
auto with_stream_variant(const ProductArgs& a, F&& f) {
  const auto of_group = [&]<class Type, int32_t kTiles>() {
    if (a.w.group == 16) return f.template operator()<Type, kTiles, 1>();
    if (a.w.group == 32) return f.template operator()<Type, kTiles, 2>();
    return f.template operator()<Type, kTiles, 4>();
  };
  const auto of_tokens = [&]<class Type>() {
    return a.m <= 8 ? of_group.template operator()<Type, 1>() : of_group.template operator()<Type, 2>();
  };
  return a.type == Float::kF16 ? of_tokens.template operator()<Half>() : of_tokens.template operator()<Brain>();
}

}  // namespace qz::cuda
