// How much the error of a weight counts where a scale is chosen.
#pragma once
#include <cstdint>

namespace qz {

// Least squares alone shrinks the weights: coarse codes clip the large ones, which costs little, and every output then
// lacks a share of itself, of the same sign in every layer. So the error of w counts sqrt(floor + w^2) times, with this
// floor for weights of that mean square: the large ones stay. The finer the codes, the less is clipped, the higher the
// floor; it is never 0, so that zeros among them count too. (Most of ggml's quantizers weigh by such a root where they
// have an importance, with a floor of once or twice the mean square.)
inline float magnitude_floor(int bits, double mean_square) {
  const int64_t times = (int64_t{1} << (bits > 2 ? bits - 2 : 0)) - 1;
  return mean_square > 0 ? static_cast<float>(mean_square * (static_cast<double>(times) + 0.01)) : 1.0f;
}

}  // namespace qz
