// How large the pieces of a run are: what the pipeline takes, and what its estimate counts (memory.cc).
#pragma once
#include <cstdint>

#include "model/model.h"

namespace qz {

constexpr int64_t kChunkTokens = 2048;  // enough rows for a GEMM, few enough for the caches and for a quick cancel

// Sequences of `count` that judge instead of solving; mean: their tokens on average. None of fewer than four.
int64_t held_sequences(int64_t count, int64_t mean);
// Every how many of the held-out sequences' tokens one judges: more would cost memory (a row of floats each) and tell
// little more.
int64_t held_every(int64_t held_tokens);

// The sequences, and the tokens of each, whose gradients the output metric is measured from: `wanted` of the
// `available` ones if the residual stream before every block and one block's activations fit.
struct MetricSize {
  int64_t sequences = 0, length = 0;
};
MetricSize metric_size(const ModelConfig& config, int64_t available, int64_t wanted);
// Rows that the output metric couples: more is better, and what is given up is little (docs/accuracy.md).
int64_t chain_rows(const Model& model);

// What the scales of a transform are judged on: the beginnings of some sequences.
constexpr int64_t kSampleTokens = 2048, kSampleLength = 256;

// Whether the inputs of the second MLP layer are kept for all tokens of `streams` streams, or else computed twice.
bool keeps_mlp_inputs(int64_t tokens, int64_t intermediate, int64_t streams);

}  // namespace qz
