// What the forward and the backward pass say alike about one head of attention.
#pragma once
#include "kernels/ops.h"
#include "model/block.h"

namespace qz {

// How query head `head` of this block attends: scale, cap, window, ALiBi's slope.
HeadShape head_shape(const Model& model, const Block& block, int64_t head);

// A projected head of queries or keys becomes what attention reads, in place: its norm, then its rotation.
void place_head(const Model& model, const Block& block, const NormWeights& norm, const RopeTable& rope,
                int64_t position, float* head);

}  // namespace qz
