// Attention between the projections and what o reads, forward and backward, for whole sequences without a cache. The
// forward pass of block.h keeps nothing; this one starts from projections that the caller keeps.
#pragma once
#include "model/block.h"

namespace qz {

// What q, k and v give, before head norms and positions: [rows][heads or kv_heads * head_dim].
struct Projections {
  MatrixView q, k, v;
};

// a[rows][heads * head_dim].
Status attend(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
              const Projections& projections, float* a, Progress* progress);

// From da, the gradient at a, those at the projections, each dense like its projection. Overwrites them.
Status attend_backward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                       const Projections& projections, MatrixView da, float* dq, float* dk, float* dv,
                       Progress* progress);

}  // namespace qz
