// Attention between the projections and what o reads, forward and backward, for whole sequences without a cache. The
// forward pass of block.h keeps nothing; this one starts from projections that the caller keeps.
#pragma once
#include "model/block.h"

namespace qz {

// p: what attention_project gives, [rows][layout.width]. a[rows][heads * value_dim].
Status attend(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences, MatrixView p,
              float* a, Progress* progress);

// From da, the gradient at a, the one at p, dense, every element of which is written.
Status attend_backward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                       MatrixView p, MatrixView da, float* dp, Progress* progress);

}  // namespace qz
