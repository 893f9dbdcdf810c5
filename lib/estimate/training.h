// Memory while a model is trained: states by recipe, sharded by ZeRO stage, offloaded; activations kept for the
// backward pass.
#pragma once
#include "base/json_fwd.h"
#include "estimate/ledger.h"
#include "estimate/query.h"
#include "estimate/shape.h"
#include "estimate/weights.h"

namespace qz {

// Bytes per parameter that is trained. Sums: Adam 16 (ZeRO, arXiv 1910.02054), float32 Adam 16, 8-bit Adam 10, SGD with
// momentum 12.
struct OptimizerRow {
  Optimizer id;
  const char* name;
  int64_t weight, gradient, states;  // states: float32 copy, momentum, variance
  std::string_view source;
};
const OptimizerRow& find_optimizer(Optimizer id);

// Parameters of LoRA adapters of this rank on every linear layer in a block: sum of r (rows + cols).
int64_t lora_parameters(const ModelShape& shape, int64_t rank);

// Bytes of activations that one token keeps in one layer for the backward pass, 16-bit, flash attention.
Count kept_activations(const ModelShape& shape);

// weights: of the frozen base, for LoRA and QLoRA.
void estimate_training(const ModelShape& shape, const WeightTable& weights, const MemoryQuery& query, Ledger* out);

// A configuration for DeepSpeed that does what the query says. kInvalidArgument if no ZeRO stage is asked for.
Result<Json> deepspeed_config(const MemoryQuery& query);

}  // namespace qz
