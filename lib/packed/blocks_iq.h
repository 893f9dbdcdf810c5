// GGUF blocks whose codes are places in a table of 16 integers: IQ4_NL (32 weights, one scale) and IQ4_XS (256 weights
// in parts of 32 with 6-bit scales).
#pragma once
#include <vector>

#include "packed/block_code.h"

namespace qz {

std::vector<BlockCode> iq_blocks();

}  // namespace qz
