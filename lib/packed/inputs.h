// 8-bit inputs of a layer (Scheme::activations) as the floats that they stand for: what a loader with integer kernels
// multiplies.
#pragma once
#include "packed/qmatrix.h"

namespace qz {

// x: [tokens][q.cols] -> out, as much. Per token: scale from its largest magnitude. kTensor: q.input_scale. kOutliers:
// columns that reach kOutlierThreshold in any of these tokens stay as they are, the others are in parts of 127 of the
// token's largest magnitude among them (LLM.int8(), section 3.2). FP8 matrices take FP8 inputs, tiles of them one scale
// for each group of columns.
void quantize_inputs(const QMatrix& q, MatrixView x, float* out);

// The scale of Activations::kTensor for inputs of which `most` is the largest magnitude, exact in scheme.scale.
float input_scale_for(const Scheme& scheme, float most);

}  // namespace qz
