// BLOOM: ALiBi, a norm after the embedding, q, k and v fused head by head. Its residual additions may start from the
// normed stream (apply_residual_connection_post_layernorm).
#include "arch/tables.h"

namespace qz {

const ArchDesc kBloom = {.name = "bloom",
                         .hf_class = "BloomForCausalLM",
                         .model_type = "bloom",
                         .prefix = "transformer.",
                         .layer = "h.{}",
                         .embed = "word_embeddings",
                         .final_norm = "ln_f",
                         .embed_norm = "word_embeddings_layernorm",
                         .o = "self_attention.dense",
                         .qkv = "self_attention.query_key_value",
                         .up = "mlp.dense_h_to_4h",
                         .down = "mlp.dense_4h_to_h",
                         .biases = "qkv o up down",
                         .norm = NormKind::kLayer,
                         .position = PositionKind::kAlibi,
                         .qkv_order = QkvOrder::kGrouped,
                         .mlp = MlpKind::kPlain,
                         .default_activation = "gelu_pytorch_tanh",
                         .default_eps = 1e-5,
                         .default_tied = true,
                         .default_max_seq = 2048,
                         .intermediate_factor = 4,
                         .keys = {.hidden = "hidden_size|n_embed",
                                  .layers = "n_layer|num_hidden_layers",
                                  .heads = "n_head|num_attention_heads",
                                  .kv_heads = "",
                                  .head_dim = "",
                                  .intermediate = "",
                                  .max_seq = "seq_length",
                                  .activation = "",
                                  .norm_eps = "layer_norm_epsilon",
                                  .residual_normed = "apply_residual_connection_post_layernorm"}};

}  // namespace qz
