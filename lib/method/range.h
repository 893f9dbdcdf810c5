// Scale and zero point of each group of a matrix, before any code is chosen.
#pragma once
#include <cstdint>
#include <vector>

#include "base/context.h"
#include "base/simd.h"
#include "packed/qmatrix.h"

namespace qz {

struct RangeOptions {
  bool search = true;  // least weighted squared error over shrunken ranges (error_weight.h); false: min-max
  bool signed_grid =
      true;  // symmetric: the scale takes the sign that lets the larger extreme meet code 0 (the longer end)
  int32_t min_zero = 0;  // smallest zero point that the format can store (GPTQ v1: 1)
};

// Per row and group, [rows][groups] even when the scheme has one scale per tensor (then all are equal).
struct Grid {
  int64_t rows = 0, groups = 0;
  std::vector<float> scale, inverse;  // inverse = 1 / scale
  std::vector<float> zero;            // as float: what the solver's arithmetic wants
  int64_t at(int64_t row, int64_t group) const { return row * groups + group; }
};

// `scale` rounded to what dtype can hold, never so small that 1 / scale overflows: a group of zeros gets the smallest
// normal number, so that it dequantizes to zero.
float storable_scale(float scale, DType dtype);

// w: [rows][cols] in group order; weights: [cols], the importance h of each column (null: all one). scheme.scale must
// be set. kNumeric when a scale does not fit scheme.scale.
Result<Grid> choose_grid(const Context& context, MatrixView w, const float* weights, const Scheme& scheme,
                         const RangeOptions& options);

// Codes of the nearest grid points, [rows][cols], group order.
std::vector<uint8_t> nearest_codes(const Context& context, MatrixView w, const Grid& grid, const Scheme& scheme);

// round(x * inverse + zero) within [0, max_code], ties to even.
inline float nearest_code(float x, float inverse, float zero, float max_code) {
  float v = x * inverse + zero;
  v = v < 0 ? 0 : v;  // also NaN-free: comparisons with NaN are false, and the caller checked for NaN
  v = v > max_code ? max_code : v;
  return round_even(v);
}

}  // namespace qz
