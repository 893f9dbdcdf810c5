// One GGUF block for the weights of `elements` columns: scales, offsets and codes that leave a small weighted squared
// error. Every part is searched on its own first; then the factors that the block can store are searched around that.
// ggml's reference quantizers look among fewer candidates.
#pragma once
#include "packed/block_code.h"

namespace qz {

// x: block.elements finite values; importance: as many weights of their errors, not below 0, or null: all alike.
// False: the scale does not fit F16.
bool fit_block(const BlockCode& block, const float* x, const float* importance, BlockFields* fields);

}  // namespace qz
