// Falcon: attention and MLP in parallel, q, k and v fused by groups. 7B: one head of keys and one norm for both halves;
// 40B and 180B: several heads of keys and a norm for each half; 11B: several heads of keys, one norm. Falcon-RW: ALiBi,
// one after the other.
#include "arch/tables.h"

namespace qz {
namespace {

constexpr ConfigKeys kKeys = {.layers = "num_hidden_layers|n_layer",
                              .heads = "num_attention_heads|n_head",
                              .kv_heads = "",
                              .head_dim = "",
                              .one_kv_head = "multi_query",
                              .intermediate = "ffn_hidden_size",
                              .activation = "activation",
                              .norm_eps = "layer_norm_epsilon",
                              .alibi = "alibi"};

constexpr ConfigKeys grouped(ConfigKeys keys) {
  keys.kv_heads = "num_kv_heads|n_head_kv";
  keys.one_kv_head = "";
  return keys;
}

constexpr ArchDesc kBase = {.name = "falcon",
                            .hf_class = "FalconForCausalLM",
                            .model_type = "falcon",
                            .prefix = "transformer.",
                            .layer = "h.{}",
                            .embed = "word_embeddings",
                            .final_norm = "ln_f",
                            .mlp_norm = "",
                            .o = "self_attention.dense",
                            .qkv = "self_attention.query_key_value",
                            .up = "mlp.dense_h_to_4h",
                            .down = "mlp.dense_4h_to_h",
                            .norm = NormKind::kLayer,
                            .alibi_scaled = true,
                            .qkv_order = QkvOrder::kGrouped,
                            .mlp = MlpKind::kPlain,
                            .parallel = true,
                            .default_activation = "gelu",
                            .default_eps = 1e-5,
                            .default_tied = true,
                            .default_max_seq = 2048,
                            .intermediate_factor = 4,
                            .keys = kKeys};

constexpr ArchDesc grouped(ArchDesc desc, std::string_view name, std::string_view when) {
  desc.name = name;
  desc.when = when;
  desc.keys = grouped(desc.keys);
  return desc;
}

constexpr ArchDesc two_norms(ArchDesc desc) {
  desc.attn_norm = "ln_attn";
  desc.mlp_norm = "ln_mlp";
  return desc;
}

constexpr ArchDesc sequential(ArchDesc desc) {
  desc.name = "falcon-rw";
  desc.when = "parallel_attn=false";
  desc.mlp_norm = "post_attention_layernorm";
  desc.parallel = false;
  return desc;
}

}  // namespace

const ArchDesc kFalcon = kBase;
const ArchDesc kFalcon11b = grouped(kBase, "falcon-11b", "new_decoder_architecture=true, num_ln_in_parallel_attn=1");
const ArchDesc kFalcon40b = two_norms(grouped(kBase, "falcon-40b", "new_decoder_architecture=true"));
const ArchDesc kFalconRw = sequential(kBase);

}  // namespace qz
