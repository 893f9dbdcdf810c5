// Latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): keys and values come from a short vector per token.
#pragma once
#include "model/block.h"

namespace qz {

constexpr float kLatentEps = 1e-6f;  // of the norms of the latents, whatever config.json says of the others

// What q_b or kv_b reads: the normed latent. x[rows][hidden]: what q_a and kv_a read.
Status latent_input(const Model& model, const Block& block, Role role, MatrixView x, float* out, Progress* progress);

// p[rows][layout.width]: queries, keys and values of every head.
Status latent_project(const Model& model, const Block& block, const HeadLayout& layout, MatrixView x, float* p,
                      Progress* progress);

}  // namespace qz
