// GGUF blocks of 32 weights with one scale, and perhaps one offset, in F16: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
#pragma once
#include <vector>

#include "packed/block_code.h"

namespace qz {

std::vector<BlockCode> simple_blocks();

}  // namespace qz
