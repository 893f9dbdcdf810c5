// Memory while a model answers.
#pragma once
#include "estimate/ledger.h"
#include "estimate/query.h"
#include "estimate/shape.h"
#include "estimate/weights.h"

namespace qz {

// weights: of every linear layer (store_weights, or a plan's).
void estimate_inference(const ModelShape& shape, const WeightTable& weights, const MemoryQuery& query, Ledger* out);

// Bytes of the largest activations of one layer while `tokens` are run, flash attention, nothing kept for a backward
// pass.
Count layer_activations(const ModelShape& shape, int64_t tokens, int32_t bits);

}  // namespace qz
