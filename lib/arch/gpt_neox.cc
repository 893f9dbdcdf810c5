// GPT-NeoX and Pythia: q, k and v fused head by head, attention and MLP in parallel with a norm each, a part of each
// head's dimensions rotates.
#include "arch/tables.h"

namespace qz {

const ArchDesc kGptNeox = {.name = "gpt_neox",
                           .hf_class = "GPTNeoXForCausalLM",
                           .model_type = "gpt_neox",
                           .prefix = "gpt_neox.",
                           .layer = "layers.{}",
                           .embed = "embed_in",
                           .final_norm = "final_layer_norm",
                           .head = "embed_out",
                           .o = "attention.dense",
                           .qkv = "attention.query_key_value",
                           .up = "mlp.dense_h_to_4h",
                           .down = "mlp.dense_4h_to_h",
                           .biases = "qkv o up down",
                           .norm = NormKind::kLayer,
                           .qkv_order = QkvOrder::kGrouped,
                           .mlp = MlpKind::kPlain,
                           .parallel = true,
                           .default_activation = "gelu",
                           .default_eps = 1e-5,
                           .default_rope_partial = 0.25,
                           .keys = {.kv_heads = "",
                                    .head_dim = "",
                                    .norm_eps = "layer_norm_eps",
                                    .parallel = "use_parallel_residual",
                                    .rope_theta = "rotary_emb_base|rope_theta",
                                    .rope_partial = "rotary_pct|partial_rotary_factor"}};

}  // namespace qz
