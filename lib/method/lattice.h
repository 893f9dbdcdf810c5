// What a solver may choose from, beside the scale and zero point of each group: the points that codes stand for, and
// the scales that can be stored. Integers, tables and GGUF's blocks differ in nothing else.
#pragma once
#include <cstdint>
#include <vector>

#include "method/range.h"
#include "packed/block_code.h"
#include "packed/scheme.h"

namespace qz {

// Points of codes in units of the scale: 0 … most, or a table of at most 16 rising values. The solver's loops hold a
// point wherever they would hold a code; for integers the two are the same.
struct Points {
  static constexpr int kMost = 16;
  float most = 0;
  int count = 0;  // of the table; 0: integers
  float first = 0;
  float middle[kMost] = {}, step[kMost] = {};  // count - 1: above middle[k] the point is step[k] higher
  const float* table = nullptr;

  float of(uint8_t code) const { return count ? table[code] : static_cast<float>(code); }
  uint8_t code(float point) const {
    if (!count) return static_cast<uint8_t>(point);
    int k = 0;
    while (k + 1 < count && table[k] < point) ++k;
    return static_cast<uint8_t>(k);
  }
};

// The point nearest to x * inverse + zero; of two equally near ones of a table the lower.
inline float nearest_integer(const Points& p, float x, float inverse, float zero) {
  return nearest_code(x, inverse, zero, p.most);
}
inline float nearest_in_table(const Points& p, float x, float inverse, float zero) {
  const float v = x * inverse + zero;
  float point = p.first;
  for (int k = 0; k < Points::kMost - 1; ++k) point += v > p.middle[k] ? p.step[k] : 0.0f;
  return point;
}
inline float nearest_point(const Points& p, float x, float inverse, float zero) {
  return p.count ? nearest_in_table(p, x, inverse, zero) : nearest_integer(p, x, inverse, zero);
}

// N of them. Two loops: the compiler vectorizes each.
template <int N>
inline void nearest_points(const Points& p, const float* x, const float* inverse, const float* zero, float* point) {
  if (p.count)
    for (int l = 0; l < N; l++) point[l] = nearest_in_table(p, x[l], inverse[l], zero[l]);
  else
    for (int l = 0; l < N; l++) point[l] = nearest_integer(p, x[l], inverse[l], zero[l]);
}

struct Lattice {
  int64_t group = 0;       // columns that share a scale
  bool one_scale = false;  // of the whole matrix
  Points points;
  // Scales: any number of this type, or, if `steps` is not empty, multiples least … most of steps[group / parts], not
  // 0.
  DType scale = DType::kF32;
  std::vector<float> steps = {};
  int32_t parts = 1, least = 1, most = 1;
  // What is subtracted from a group, zero * scale: fixed to the zero point (kNone), any F16 number, or multiples 0 …
  // most_min of offset_steps[group / parts].
  BlockOffset offset = BlockOffset::kNone;
  std::vector<float> offset_steps = {};
  int32_t most_min = 0;

  Lattice(const Scheme& scheme, int64_t cols);           // integers
  Lattice(const BlockCode& block, size_t blocks);        // `steps` are the caller's to fill in
  float nearest_scale(size_t group, float scale) const;  // that can be stored
  float nearest_offset(size_t group, float offset) const;
};

// Scales below this stand for 0: every code of the group gives the same value.
constexpr float kNoScale = 1e-30f;

}  // namespace qz
