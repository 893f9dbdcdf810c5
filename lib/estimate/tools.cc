#include "estimate/tools.h"

#include <algorithm>

#include "estimate/kv_cache.h"
#include "estimate/runtime.h"

namespace qz {
namespace {

using Kind = ItemKind;
constexpr Where kDevice = Where::kDevice;

// accelerate builds the model without its head, so that an untied head is missing; integers are float32 / 4 and / 8;
// training with Adam is 4 times the float32 size, in mixed precision the largest of its rows, 2 times.
Status accelerate(const ModelShape& s, const WeightTable&, const MemoryQuery& q, Ledger* out) {
  constexpr const char* kSource = "accelerate commands/estimate.py";
  const Count f32 =
      Count(s.parameters() - (s.tied ? 0 : s.linear_elements(true) - s.linear_elements(false))) * Count(4);
  if (q.goal != Goal::kInfer) {
    const bool mixed = q.optimizer != Optimizer::kAdamF32;
    out->add("training with Adam", kDevice, Kind::kOptimizer, f32 * Count(mixed ? 2 : 4),
             mixed ? "2 * float32 size: the largest row of mixed precision" : "4 * float32 size", kSource);
    return {};
  }
  double bits = 16;
  if (!q.weights.empty()) {
    QZ_ASSIGN(const WeightSpec spec, WeightSpec::parse(q.weights, s.dtype));
    bits = spec.bits();
  }
  out->add("weights", kDevice, Kind::kWeights, (f32 * Count(static_cast<int64_t>(bits))).per(32),
           "float32 size * bits / 32, the head left out", kSource);
  return {};
}

Status deepspeed(const ModelShape& s, const WeightTable&, const MemoryQuery& q, Ledger* out) {
  if (q.zero_stage < 2)
    return error(Code::kUnsupported, "DeepSpeed's estimators are for ZeRO stages 2 and 3, not %d", q.zero_stage);
  const DeepSpeedBytes b = deepspeed_bytes(s, q.zero_stage, q.offload, q.devices);
  const char* source = q.zero_stage == 2 ? "DeepSpeed stage_1_and_2.py" : "DeepSpeed stage3.py";
  out->add("parameters, gradients, optimizer", kDevice, Kind::kOptimizer, b.device, "its estimator; no activations",
           source);
  out->add("host buffers", Where::kHost, Kind::kOptimizer, b.host, "its estimator, additional buffer factor 1.5",
           source);
  return {};
}

// DeepSpeed's documentation says otherwise than its code: 4P + 16P/N, and GPUs of a node instead of all in the host's
// part.
Status deepspeed_docs(const ModelShape& s, const WeightTable&, const MemoryQuery& q, Ledger* out) {
  if (q.zero_stage != 2 || q.offload != Offload::kNone)
    return error(Code::kUnsupported, "deepspeed-docs: the documentation differs for ZeRO stage 2 without offload only");
  const Count p(s.parameters());
  constexpr const char* kSource = "DeepSpeed docs/code-docs/source/memory.rst";
  out->add("parameters, gradients, optimizer", kDevice, Kind::kOptimizer,
           Count(4) * p + (Count(16) * p).per(Count(q.devices)), "4P + 16P/N", kSource);
  out->add("host buffers", Where::kHost, Kind::kOptimizer, Count(6) * p * Count(q.devices), "4P * GPUs * 1.5", kSource);
  return {};
}

// gguf-parser: the file's tensors, a cache padded to 32 tokens, output buffer, footprints.
Status gguf_parser(const ModelShape& s, const WeightTable& w, const MemoryQuery& q, Ledger* out) {
  constexpr const char* kSource = "gguf-parser-go file_estimate";
  Count weights(w.embedding);
  for (const MatrixBytes& m : w.linears) weights += Count(m.codes) + Count(m.scales);
  weights += Count(w.others);
  if (s.tied) weights += Count(w.embedding);  // the output is loaded a second time
  out->add("tensors", kDevice, Kind::kWeights, weights, "the file's; a tied output twice", kSource);
  KvLayout kv;
  kv.bits = q.kv_bits;
  out->add("keys and values", kDevice, Kind::kKvCache, kv_bytes(s, kv, q.batch, round_up(q.seq, 32)),
           "rows of all layers, context padded to 32", kSource);
  out->add("output buffer", Where::kHost, Kind::kLogits, (Count(s.hidden) + Count(s.vocab)) * Count(q.batch) * Count(4),
           "(hidden + vocabulary) * outputs * 4", kSource);
  out->add("scheduler and base", Where::kHost, Kind::kRuntime, Count(9) * Count(1 << 20), "4 MiB + 5 MiB", kSource);
  out->add("platform footprint", Where::kHost, Kind::kRuntime, Count(150) * Count(1 << 20), "150 MiB", kSource);
  out->add("platform footprint", kDevice, Kind::kRuntime, Count(250) * Count(1 << 20), "250 MiB", kSource);
  return {};
}

}  // namespace

const std::vector<ToolModel>& tool_models() {
  static const std::vector<ToolModel> table = {
      {"accelerate", accelerate, "accelerate estimate-memory"},
      {"deepspeed", deepspeed, "DeepSpeed's ZeRO estimators, as its code computes"},
      {"deepspeed-docs", deepspeed_docs, "the same as its documentation says"},
      {"gguf-parser", gguf_parser, "gguf-parser-go for llama.cpp"},
  };
  return table;
}

const ToolModel* find_tool(std::string_view name) {
  for (const ToolModel& t : tool_models())
    if (t.name == name) return &t;
  return nullptr;
}

DeepSpeedBytes deepspeed_bytes(const ModelShape& s, int32_t stage, Offload offload, int64_t gpus) {
  const Count p(s.parameters()), n(gpus);
  const auto buffered = [](Count c) { return (c * Count(3)).per(2); };  // additional_buffer_factor = 1.5
  if (stage <= 2) {
    if (offload == Offload::kNone) return {Count(2) * p + (Count(18) * p).per(n), buffered(Count(4) * p * n)};
    const Count each = Count(16) < Count(4) * n ? Count(4) * n : Count(16);
    return {Count(2) * p, buffered(p * each)};
  }
  const Count layer = Count(4) * Count(s.largest);
  if (offload == Offload::kNone) return {layer + (Count(18) * p).per(n), buffered(layer * n)};
  if (offload == Offload::kOptimizer) return {layer + (Count(2) * p).per(n), buffered(Count(16) * p)};
  return {layer, buffered(Count(18) * p)};
}

int64_t vllm_kv_tokens(const ModelShape& shape, uint64_t device_total, double utilization, uint64_t weights,
                       uint64_t peak, uint64_t other, int32_t kv_bits) {
  const auto usable = static_cast<uint64_t>(static_cast<double>(device_total) * utilization);
  const Count taken = Count(weights) + Count(peak) + Count(other);
  if (!taken.valid() || taken.value() >= usable) return 0;
  KvLayout kv;
  kv.bits = kv_bits;
  kv.block = find_runtime("vllm").kv_block;
  return kv_capacity(shape, kv, usable - taken.value());
}

}  // namespace qz
