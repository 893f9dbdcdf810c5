// Codes that are places in a table of floats: NF4, FP4, FP8 (E4M3), and the signed dynamic 8-bit map that double
// quantization uses for scales.
#pragma once
#include <cstdint>
#include <vector>

#include "packed/scheme.h"

namespace qz {

// 16 or 256 values, indexed by code; empty for kinds without a table. NF4: Dettmers et al. 2023, arXiv 2305.14314,
// appendix E. FP4: bitsandbytes' own order, bit 3 the sign. FP8: OCP 8-bit floating point E4M3; codes 127 and 255 are
// NaN.
const std::vector<float>& codebook(CodeKind code);

// The code of the table's value nearest to x, which is already divided by the scale; values outside saturate. NF4
// rounds at the middle, the middle itself down (bitsandbytes' kernels); FP4 stores what rounds to zero as code 0; FP8
// rounds to even.
uint8_t nearest_in_codebook(CodeKind code, float x);
// The same of x[i] * by for n values.
void nearest_in_codebook(CodeKind code, const float* x, int64_t n, float by, uint8_t* out);

// The 256 values of bitsandbytes' create_dynamic_map(signed, 7 exponent bits, 8 bits in all), rising, as it computes
// them in float32.
const std::vector<float>& dynamic_map();
// The place of the value of `map`, which rises, nearest to x; the lower one in the middle.
uint8_t nearest_in_map(const std::vector<float>& map, float x);

}  // namespace qz
