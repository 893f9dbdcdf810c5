// The far end of a backward pass: labels, and the gradient of their log-probability at the last residual stream.
#pragma once
#include "model/block.h"

namespace qz {

struct Labels {
  const int32_t* given = nullptr;  // [rows]; null: drawn from the model's prediction
  uint64_t seed = 0;               // of the drawing; the label of position t of sequence s is a function of seed, s, t
};

// gradient[rows][hidden] = d/dr of the sum over rows of log p(label | context), r[rows][hidden] the stream after the
// last block. kNumeric: a row's logits are not finite; kInvalidArgument: a given label is outside the vocabulary.
Status label_gradient(const Model& model, const Sequences& sequences, MatrixView r, const Labels& labels,
                      float* gradient, Progress* progress);

// The first index whose cumulated probability exceeds u of their sum; u in [0, 1). -1: the sum is not a positive
// number.
int64_t draw_label(const float* probabilities, int64_t vocab, double u);

}  // namespace qz
