// GGUF block codes of a whole matrix, as ggml's reference quantizer chooses them.
#pragma once
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

// w: [rows][cols], finite; cols a multiple of the block. importance: [cols] the weight of each column's error, or null.
Result<QMatrix> round_to_blocks(const Context& context, MatrixView w, const float* importance, const Scheme& scheme);

}  // namespace qz
