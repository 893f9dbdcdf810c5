// What other tools say about the same model, by their own formulas, so that a user sees where they differ.
#pragma once
#include <string>
#include <vector>

#include "base/status.h"
#include "estimate/ledger.h"
#include "estimate/query.h"
#include "estimate/shape.h"
#include "estimate/weights.h"

namespace qz {

struct ToolModel {
  std::string_view name;  // "accelerate"
  Status (*estimate)(const ModelShape& shape, const WeightTable& weights, const MemoryQuery& query, Ledger* out);
  std::string_view what;
};
const std::vector<ToolModel>& tool_models();
// nullptr: the tool has no formulas of its own here (runtime.h may still know what it takes).
const ToolModel* find_tool(std::string_view name);

// DeepSpeed's estimators (stage_1_and_2.py, stage3.py), bytes of one GPU and of the host, for all ranks on one node.
struct DeepSpeedBytes {
  Count device, host;
};
DeepSpeedBytes deepspeed_bytes(const ModelShape& shape, int32_t stage, Offload offload, int64_t gpus);

// Tokens that fit vLLM's cache: util * total - (weights + peak + other), whole blocks.
int64_t vllm_kv_tokens(const ModelShape& shape, uint64_t device_total, double utilization, uint64_t weights,
                       uint64_t peak, uint64_t other, int32_t kv_bits);

}  // namespace qz
