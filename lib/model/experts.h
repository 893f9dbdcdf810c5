// Mixtures of experts: which experts a token goes to, and what they give together.
#pragma once
#include <vector>

#include "model/block.h"

namespace qz {

struct Routes {
  int64_t per_token = 0;
  Matrix scores;                // [rows][experts] softmax or sigmoid of the router's outputs
  std::vector<int32_t> expert;  // [rows][per_token] by falling score, the lower number first
  std::vector<float> weight;    // [rows][per_token] what that expert's output is multiplied by
};

// x[rows][hidden]: what the MLP reads. Softmax with or without renormalization (Mixtral, arXiv 2401.04088; Qwen),
// limited to the best groups of experts (DeepSeek-V2, arXiv 2405.04434), or by sigmoids with a bias that counts for the
// choice alone (DeepSeek-V3, arXiv 2412.19437).
Status route(const Model& model, const Block& block, MatrixView x, Routes* routes, Progress* progress);

// The rows that go to one expert, ascending, and what its output is multiplied by there.
struct Share {
  std::vector<int64_t> rows;
  std::vector<float> weights;
};
std::vector<Share> shares(const Routes& routes, int64_t experts);

// Expert `expert` of a block; as load_block reads it.
Result<Feed> load_expert(const Model& model, int64_t layer, int64_t expert);

// out[i] = x[rows[i]], dense.
void gather_rows(MatrixView x, const int64_t* rows, int64_t count, float* out);
// y[row] += weight * feed(x[row]) for the rows of the share; y has x's rows, dense.
Status add_expert(const Model& model, const Feed& feed, const Share& share, MatrixView x, float* y, Progress* progress);
// y[row] += down(m[row]), times the shared expert's gate for x[row] where there is one.
Status add_shared(const Model& model, const Block& block, MatrixView x, MatrixView m, float* y, Progress* progress);
// All experts of the block: those in memory, or read one after the other.
Status add_experts(const Model& model, const Block& block, MatrixView x, float* y, Progress* progress);

}  // namespace qz
