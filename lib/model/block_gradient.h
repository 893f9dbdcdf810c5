// One transformer block backward: from the gradient at the residual stream after it to the one before it.
#pragma once
#include <functional>

#include "model/block.h"

namespace qz {

// Is shown the gradient at the output of each linear layer of the block, g[tokens][rows]; valid during the call.
using RoleSink = std::function<Status(Role role, MatrixView g)>;

// r[rows][hidden]: the residual stream before the block, for whole sequences. gradient[rows][hidden]: of the stream
// after the block; becomes that of r. Computes the forward pass again and keeps its activations meanwhile.
Status block_backward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                      MatrixView r, float* gradient, const RoleSink& sink, Progress* progress);

// dx += (d norm(x) / d x)^T dy, row by row, all dense; a norm without weights copies, so dx += dy. dx is neither x nor
// dy.
Status norm_rows_gradient(const Model& model, const NormWeights& norm, MatrixView x, const float* dy, float* dx);

}  // namespace qz
