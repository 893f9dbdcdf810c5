// Every lever of the transforms, with no zero meaning "default" any more.
#pragma once
#include <cstdint>

namespace qz {

enum class TransformKind : int32_t { kNone = 0, kAwq = 1, kSmoothQuant = 2 };  // equals qz_transform

constexpr double kSearchedAlpha = -1;  // alpha: chosen for each place

struct TransformOptions {
  TransformKind kind = TransformKind::kNone;
  // AWQ.
  int32_t grid = 20;  // ratios that are tried
  bool duo = true;    // the weights' magnitudes count too (AutoAWQ's duo_scaling)
  bool clip = true;   // rounding to nearest searches clipped ranges (method/clip.h)
  // SmoothQuant: how much moves from the inputs into the weights, 0 … 1.
  double alpha = kSearchedAlpha;

  bool operator==(const TransformOptions&) const = default;
};

}  // namespace qz
