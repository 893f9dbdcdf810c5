// How much each output of a linear layer matters: the output metric G = mean over tokens of g g^T, where g is the
// gradient of log p(y | context) with respect to the layer's output and the label y is drawn from the model's own
// prediction. That is the output factor of the Fisher matrix in K-FAC (Martens and Grosse, arXiv 1503.05671); YAQA
// (arXiv 2505.22988) brought it to quantization. A solver then minimizes tr(G (W - Wq) H (W - Wq)^T).
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "model/model.h"

namespace qz {

// G of one module restricted to diagonal blocks of `block` rows: what a solver that couples at most `block` rows needs,
// and little memory.
struct OutputMetric {
  int64_t rows = 0, block = 0;  // block <= rows: a longer request is cut to one block; the last block may be shorter
  Matrix g;  // [rows][block]: row r holds G[r][b0 .. b0 + block), b0 = r / block * block; zero-padded
};

// One per module of model.modules(), empty for the head, for routers and for the experts of a mixture. ids: token
// sequences, each of 1 … max_seq tokens. seed: of the labels, one per position. Memory: one block's weights, its
// activations for all given tokens, the residual stream before each block, and at the start the head in float32. The
// same bits for any number of threads.
Result<std::vector<OutputMetric>> output_metrics(const Model& model, const std::vector<std::vector<int32_t>>& ids,
                                                 int64_t block, uint64_t seed, Progress* progress);

// The gradients themselves, module by module from the last block to the first, g[tokens][rows] in the order of ids;
// valid during the call. labels: like ids, the label of each position; empty: drawn with `seed`.
using GradientSink = std::function<Status(size_t module, MatrixView g)>;
Status module_gradients(const Model& model, const std::vector<std::vector<int32_t>>& ids,
                        const std::vector<std::vector<int32_t>>& labels, uint64_t seed, const GradientSink& sink,
                        Progress* progress);

}  // namespace qz
