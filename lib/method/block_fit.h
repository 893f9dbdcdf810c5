// GGUF blocks for a run of weights: scales, offsets and codes that leave a small weighted squared error. Every part is
// searched on its own first; then the factors that a block can store are searched around that. ggml's reference
// quantizers look among fewer candidates.
#pragma once
#include <cstdint>

#include "packed/block_code.h"

namespace qz {

// x: count blocks of consecutive finite weights; importance: as many weights of their errors, not below 0, or null: all
// alike. bytes: count blocks. Returns count, or the number of the first block whose scale does not fit F16.
int64_t fit_blocks(const BlockCode& block, int64_t count, const float* x, const float* importance, uint8_t* bytes);

}  // namespace qz
