#include "estimate/training.h"

#include "base/json.h"
#include "estimate/runtime.h"

namespace qz {
namespace {

const std::vector<OptimizerRow>& optimizers() {
  static const std::vector<OptimizerRow> table = {
      {Optimizer::kAdam, "Adam", 2, 2, 12, "ZeRO, arXiv 1910.02054, section 3.1: 2 + 2 + 12"},
      {Optimizer::kAdamF32, "Adam in float32", 4, 4, 8, "Hugging Face, model memory anatomy"},
      {Optimizer::kAdam8, "8-bit Adam", 2, 2, 6, "EleutherAI, Transformer Math 101; arXiv 2110.02861"},
      {Optimizer::kSgd, "SGD with momentum", 2, 2, 8, "EleutherAI, Transformer Math 101"},
  };
  return table;
}

// The layer that is being computed has its parameters gathered (ZeRO stage 3), or recomputed activations.
int64_t largest_layer(const ModelShape& s) { return s.largest; }

void add_states(const ModelShape& s, Count parameters, const OptimizerRow& row, const MemoryQuery& q, bool with_weights,
                Ledger* out) {
  const Count n(q.devices);
  const std::string by = " / " + std::to_string(q.devices) + " ranks";
  using K = ItemKind;
  const auto sharded = [&](int32_t from) { return q.zero_stage >= from; };
  const auto add = [&](const char* what, K kind, int64_t each, int32_t stage, Offload offload) {
    Count bytes = parameters * Count(each);
    std::string formula = std::to_string(each) + " * trained parameters";
    if (sharded(stage)) {
      bytes = bytes.per(n);
      formula += by;
    }
    const bool to_host = static_cast<int32_t>(q.offload) >= static_cast<int32_t>(offload) && offload != Offload::kNone;
    out->add(what, to_host ? Where::kHost : Where::kDevice, kind, bytes, formula, std::string(row.source));
  };
  if (with_weights) add("weights", K::kWeights, row.weight, 3, Offload::kParameters);
  add("gradients", K::kGradients, row.gradient, 2, Offload::kOptimizer);
  add("optimizer states", K::kOptimizer, row.states, 1, Offload::kOptimizer);
  if (with_weights && sharded(3))
    out->add("the layer at hand, gathered", Where::kDevice, K::kWorkspace, Count(largest_layer(s)) * Count(row.weight),
             std::to_string(row.weight) + " * largest layer", "DeepSpeed stage3.py");
}

void add_activations(const ModelShape& s, const MemoryQuery& q, Ledger* out) {
  const Count tokens = Count(q.batch) * Count(q.seq), layer = kept_activations(s) * tokens;
  using K = ItemKind;
  if (q.checkpointing == Checkpointing::kNone) {
    out->add("activations", Where::kDevice, K::kActivations, layer * Count(s.layers),
             "layers * tokens * (8h + 4Hd + 4kv d + 4H + 8f; plain MLP 4f)", "shapes; flash attention is assumed");
  } else {
    out->add("checkpoints", Where::kDevice, K::kActivations, Count(2) * Count(s.layers) * tokens * Count(s.hidden),
             "2 * layers * tokens * h", "EleutherAI, Transformer Math 101");
    out->add("one layer, recomputed", Where::kDevice, K::kActivations, layer,
             "tokens * (8h + 4Hd + 4kv d + 4H + 8f; plain MLP 4f)", "shapes; flash attention is assumed");
  }
  out->add("logits and their gradient", Where::kDevice, K::kLogits, tokens * Count(s.vocab) * Count(10),
           "tokens * vocabulary * (2 + 4 + 4)", "16-bit logits, float32 copy for the loss, its gradient");
}

}  // namespace

const OptimizerRow& find_optimizer(Optimizer id) {
  for (const OptimizerRow& row : optimizers())
    if (row.id == id) return row;
  return optimizers().front();
}

int64_t lora_parameters(const ModelShape& shape, int64_t rank) {
  int64_t sum = 0;
  for (const LinearShape& l : shape.linears)
    if (l.layer >= 0) sum += rank * (l.rows + l.cols);
  return sum;
}

Count kept_activations(const ModelShape& s) {
  const Count h(s.hidden), q = Count(s.heads) * Count(s.head_dim), kv = Count(s.kv_heads) * Count(s.head_dim);
  return Count(8) * h + Count(4) * q + Count(4) * kv + Count(4) * Count(s.heads) +
         Count(s.gated ? 8 : 4) * Count(s.intermediate);
}

void estimate_training(const ModelShape& s, const WeightTable& weights, const MemoryQuery& q, Ledger* out) {
  if (q.goal == Goal::kTrainFull) {
    add_states(s, Count(s.parameters()), find_optimizer(q.optimizer), q, true, out);
  } else {
    Count codes, scales;
    for (const MatrixBytes& m : weights.linears) codes += m.codes, scales += m.scales;
    const char* source = s.exact ? "tensor headers" : "shapes by config.json and the family's table";
    out->add("frozen weights", Where::kDevice, ItemKind::kWeights,
             codes + Count(weights.embedding) + Count(weights.others), "codes or plain weights, embedding, norms",
             source);
    out->add("their scales", Where::kDevice, ItemKind::kScales, scales, "the rest of each layout", source);
    const int64_t adapters = lora_parameters(s, q.lora_rank);
    out->note(std::to_string(adapters) + " parameters are trained: adapters of rank " + std::to_string(q.lora_rank) +
              " on every linear layer in a block");
    using K = ItemKind;
    const Count a(adapters);
    const char* kWords = "float32 adapters, arXiv 2106.09685, 2305.14314";
    out->add("adapters", Where::kDevice, K::kWeights, a * Count(4), "4 * sum of r (rows + cols)", kWords);
    out->add("gradients", Where::kDevice, K::kGradients, a * Count(4), "4 * adapters", kWords);
    out->add("optimizer states", q.offload == Offload::kNone ? Where::kDevice : Where::kHost, K::kOptimizer,
             a * Count(8), "8 * adapters", kWords);
  }
  add_activations(s, q, out);
  const RuntimeRow& runtime = find_runtime("transformers");
  out->add_range(runtime.what, Where::kDevice, ItemKind::kRuntime, runtime.low, runtime.typical, runtime.high,
                 "measured by others", std::string(runtime.source));
}

Result<Json> deepspeed_config(const MemoryQuery& q) {
  if (q.zero_stage < 1 || q.zero_stage > 3)
    return error(Code::kInvalidArgument, "ZeRO stage %d: DeepSpeed's are 1, 2 and 3", q.zero_stage);
  Json zero = {{"stage", q.zero_stage}, {"overlap_comm", true}, {"contiguous_gradients", true}};
  const Json to_cpu = {{"device", "cpu"}, {"pin_memory", true}};
  if (q.offload != Offload::kNone) zero["offload_optimizer"] = to_cpu;
  if (q.offload == Offload::kParameters) {
    if (q.zero_stage != 3) return error(Code::kInvalidArgument, "only ZeRO stage 3 offloads parameters");
    zero["offload_param"] = to_cpu;
  }
  if (q.zero_stage == 3) zero["stage3_gather_16bit_weights_on_model_save"] = true;
  const bool f32 = q.optimizer == Optimizer::kAdamF32;
  return Json{{"bf16", {{"enabled", !f32}}},
              {"zero_optimization", std::move(zero)},
              {"train_micro_batch_size_per_gpu", q.batch},
              {"gradient_accumulation_steps", 1},
              {"train_batch_size", q.batch * q.devices}};
}

}  // namespace qz
