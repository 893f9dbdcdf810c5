#include "tensor/extremes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/simd.h"

namespace qz {
namespace {

constexpr int kLanes = 32;

}  // namespace

QZ_SIMD_CLONES
float largest_magnitude(const float* v, int64_t n) {
  float most[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) {
      const float size = std::fabs(v[i + l]);
      most[l] = size > most[l] ? size : most[l];
    }
  for (; i < n; ++i) most[0] = std::max(most[0], std::fabs(v[i]));
  return *std::max_element(most, most + kLanes);
}

QZ_SIMD_CLONES
void widen(const float* v, int64_t n, float* low, float* high) {
  float least[kLanes], most[kLanes];
  for (int l = 0; l < kLanes; ++l) least[l] = *low, most[l] = *high;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) {
      least[l] = v[i + l] < least[l] ? v[i + l] : least[l];
      most[l] = v[i + l] > most[l] ? v[i + l] : most[l];
    }
  for (; i < n; ++i) least[0] = std::min(least[0], v[i]), most[0] = std::max(most[0], v[i]);
  *low = *std::min_element(least, least + kLanes);
  *high = *std::max_element(most, most + kLanes);
}

QZ_SIMD_CLONES
bool all_finite(const float* x, int64_t n) {
  uint32_t wrong = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    wrong |= static_cast<uint32_t>((bits & 0x7F800000u) == 0x7F800000u);
  }
  return wrong == 0;
}

}  // namespace qz
