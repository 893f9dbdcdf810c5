// GGUF block codes of a whole matrix, without the Hessian.
#pragma once
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

// w: [rows][cols], finite; cols a multiple of the block. importance: [cols] the weight of each column's error, or null.
// kNumeric when a scale does not fit F16.
Result<QMatrix> round_to_blocks(const Context& context, MatrixView w, const float* importance, const Scheme& scheme);

}  // namespace qz
