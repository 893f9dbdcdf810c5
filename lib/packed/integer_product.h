// Layers with 8-bit inputs (Scheme::activations) as products of integers: what their inputs are rounded to is never
// multiplied as floats, but for LLM.int8()'s outlier columns.
#pragma once
#include "kernels/low_bit.h"
#include "packed/inputs.h"

namespace qz {

// Whether q's inputs have 8 bits and its codes, once tiled (packed/tiles.h), can be multiplied by them. Not FP8.
bool takes_integers(const QMatrix& q, const TiledWeights& tiles);

// y = x w^T + bias with x [rows][cols] rounded as `rule` says; accumulate: y += instead of =. bias may be null.
// takes_bytes(w) must hold. Equal to the product of quantize_inputs()'s floats but for the rounding of float32 sums.
Status integer_product(const Context& context, const InputRule& rule, const TiledWeights& w, MatrixView x,
                       const float* bias, bool accumulate, const MutableRows& y, Progress* progress = nullptr);

// The same where the scheme leaves x as it is and the caller wants it in 8 bits: with a scale for each token and group
// of w, or for each token where the columns of a group do not lie together.
Status rounded_product(const Context& context, const TiledWeights& w, MatrixView x, const float* bias, bool accumulate,
                       const MutableRows& y, Progress* progress = nullptr);

}  // namespace qz
