// Latent attention's projections backward.
#pragma once
#include "model/feed_gradient.h"
#include "model/latent.h"

namespace qz {

// dp[rows][layout.width]: the gradient at what latent_project gives for x. dx += the gradient at x. Shows the sink the
// gradients of q or q_a and q_b, kv_a, kv_b.
Status latent_backward(const Model& model, const Block& block, const HeadLayout& layout, MatrixView x, MatrixView dp,
                       const RoleSink& sink, float* dx, Progress* progress);

}  // namespace qz
