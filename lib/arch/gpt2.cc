// GPT-2: learned positions, q, k and v in one, and linear layers stored [in, out] (transformers' Conv1D).
#include "arch/tables.h"

namespace qz {

const ArchDesc kGpt2 = {.name = "gpt2",
                        .hf_class = "GPT2LMHeadModel",
                        .model_type = "gpt2",
                        .prefix = "transformer.",
                        .layer = "h.{}",
                        .embed = "wte",
                        .positions = "wpe",
                        .final_norm = "ln_f",
                        .attn_norm = "ln_1",
                        .mlp_norm = "ln_2",
                        .o = "attn.c_proj",
                        .qkv = "attn.c_attn",
                        .up = "mlp.c_fc",
                        .down = "mlp.c_proj",
                        .biases = "qkv o up down",
                        .norm = NormKind::kLayer,
                        .position = PositionKind::kLearned,
                        .mlp = MlpKind::kPlain,
                        .transposed = true,
                        .default_activation = "gelu_new",
                        .default_eps = 1e-5,
                        .default_tied = true,
                        .intermediate_factor = 4,
                        .keys = {.hidden = "n_embd",
                                 .layers = "n_layer",
                                 .heads = "n_head",
                                 .kv_heads = "",
                                 .head_dim = "",
                                 .intermediate = "n_inner",
                                 .max_seq = "n_positions|n_ctx",
                                 .activation = "activation_function",
                                 .norm_eps = "layer_norm_epsilon",
                                 .scale_scores = "scale_attn_weights",
                                 .scale_by_layer = "scale_attn_by_inverse_layer_idx"}};

}  // namespace qz
