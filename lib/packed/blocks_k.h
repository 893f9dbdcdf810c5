// GGUF's K types: blocks of 256 weights in parts of 16 or 32, whose scales (and offsets) are small integers times one
// F16 number of the block: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.
#pragma once
#include <vector>

#include "packed/block_code.h"

namespace qz {

std::vector<BlockCode> k_blocks();

}  // namespace qz
