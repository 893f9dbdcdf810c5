// LLM.int8()'s weights (Dettmers et al. 2022, arXiv 2208.07339, section 3.1): each row in parts of 127 of its largest
// magnitude. What the inputs meet is the loader's business (packed/scheme.h, Activations).
#pragma once
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

// w: [rows][cols], finite. scheme: LLM.int8. The scales are F32 whatever scheme.scale says.
Result<QMatrix> round_to_row_absmax(const Context& context, MatrixView w, const Scheme& scheme);

}  // namespace qz
