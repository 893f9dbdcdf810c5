#include "estimate/inference.h"

#include <algorithm>

#include "estimate/kv_cache.h"
#include "estimate/runtime.h"

namespace qz {

Count layer_activations(const ModelShape& s, int64_t tokens, int32_t bits) {
  const Count h(s.hidden), f(s.intermediate);
  const Count q = Count(s.heads) * Count(s.head_dim), kv = Count(2) * Count(s.kv_heads) * Count(s.head_dim);
  const Count attention = Count(2) * h + q + kv + q;  // residual, norm, q, k, v, what o reads
  const Count mlp = Count(2) * h + Count(2) * f + (s.gated ? f : Count());
  return (Count(tokens) * (attention < mlp ? mlp : attention) * Count(bits)).per(8);
}

void estimate_inference(const ModelShape& s, const WeightTable& weights, const MemoryQuery& q, Ledger* out) {
  const Count t(q.devices);
  Count codes, scales, head;
  for (size_t i = 0; i < weights.linears.size(); i++) {
    (s.linears[i].layer >= 0 ? codes : head) += Count(weights.linears[i].codes).per(t);
    scales += Count(weights.linears[i].scales).per(t);
  }
  const std::string split = q.devices > 1 ? " / tensor-parallel degree" : "";
  const char* exact = s.exact ? "tensor headers" : "shapes by config.json and the family's table";
  using K = ItemKind;
  constexpr Where kDevice = Where::kDevice;
  out->add("linear layers in blocks", kDevice, K::kWeights, codes, "codes or plain weights, by layout" + split, exact);
  out->add("scales, zero points, indices", kDevice, K::kScales, scales, "the rest of each layout" + split, exact);
  out->add("head", kDevice, K::kWeights, head, "vocabulary * hidden * type" + split, exact);
  out->add("embedding", kDevice, K::kWeights, Count(weights.embedding).per(t), "vocabulary * hidden * type" + split,
           exact);
  out->add("norms, biases, other towers", kDevice, K::kWeights, weights.others, "elements * type", exact);
  for (size_t i = 0; i < std::min<size_t>(weights.kept.size(), 3); i++) out->note("stays plain: " + weights.kept[i]);
  if (weights.kept.size() > 3) out->note("and " + std::to_string(weights.kept.size() - 3) + " more stay plain");

  KvLayout kv;
  kv.bits = q.kv_bits;
  kv.tensor_parallel = q.devices;
  kv.step = q.prefill;
  const RuntimeRow& runtime = find_runtime(q.tool);
  kv.block = runtime.kv_block;
  kv.latent_group = runtime.latent_group;
  out->add("keys and values", kDevice, K::kKvCache, kv_bytes(s, kv, q.batch, q.seq),
           s.latent > 0 ? "layers * (latent + rotary) * type * tokens"
                        : "layers * 2 * max(kv heads / degree, 1) * head width * type * tokens, windows respected",
           "vLLM KV cache specifications; arXiv 2305.13245 (grouped queries)");
  if (q.seq > s.max_seq)
    out->note("the context of " + std::to_string(q.seq) + " is beyond the model's " + std::to_string(s.max_seq) +
              " positions");
  const int64_t step = std::max(q.batch, std::min(q.prefill, q.seq));
  out->add("activations of one layer", kDevice, K::kActivations, layer_activations(s, step, q.compute_bits),
           "tokens at once * max(2h + (2H + 2kv)d, 2h + 2f + f) * type", "shapes; flash attention is assumed");
  out->add("logits", kDevice, K::kLogits, Count(q.batch) * Count(s.vocab) * (Count(q.compute_bits).per(8) + Count(4)),
           "sequences * vocabulary * (type + float32)", "shapes");
  out->add_range(runtime.what, kDevice, K::kRuntime, runtime.low, runtime.typical, runtime.high, "measured by others",
                 std::string(runtime.source));
}

}  // namespace qz
