// OPT: layer norms, learned positions that start at row 2, a plain ReLU MLP, biases everywhere. OPT-350m has its norms
// after the residual additions, no norm at the end, and embeddings narrower than the blocks. The second norm of a block
// is called final_layer_norm, like the one after the last block.
#include "arch/tables.h"

namespace qz {

const ArchDesc kOpt = {.name = "opt",
                       .hf_class = "OPTForCausalLM",
                       .model_type = "opt",
                       .layer = "model.decoder.layers.{}",
                       .embed = "model.decoder.embed_tokens",
                       .positions = "model.decoder.embed_positions",
                       .final_norm = "model.decoder.final_layer_norm",
                       .project_in = "model.decoder.project_in",
                       .project_out = "model.decoder.project_out",
                       .attn_norm = "self_attn_layer_norm",
                       .mlp_norm = "final_layer_norm",
                       .o = "self_attn.out_proj",
                       .gate = "",
                       .up = "fc1",
                       .down = "fc2",
                       .biases = "q k v o up down",
                       .norm = NormKind::kLayer,
                       .position = PositionKind::kLearned,
                       .position_offset = 2,
                       .mlp = MlpKind::kPlain,
                       .default_activation = "relu",
                       .default_eps = 1e-5,
                       .default_tied = true,
                       .keys = {.kv_heads = "",
                                .head_dim = "",
                                .intermediate = "ffn_dim",
                                .activation = "activation_function",
                                .norm_eps = "",
                                .embed_dim = "word_embed_proj_dim",
                                .norm_first = "do_layer_norm_before",
                                .no_final_norm = "_remove_final_layer_norm"}};

}  // namespace qz
