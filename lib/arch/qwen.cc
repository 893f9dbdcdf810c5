// Qwen2 and Qwen2.5: Llama with biases on q, k, v (the file says so) and a window that is off unless use_sliding_window
// is true. Qwen3: no biases, but an RMS norm over each head of q and k. Their mixtures of experts: Qwen2's has a shared
// expert whose output is multiplied by a sigmoid.
#include "arch/tables.h"

namespace qz {

const ArchDesc kQwen2 = {
    .name = "qwen2",
    .hf_class = "Qwen2ForCausalLM",
    .model_type = "qwen2",
    .defaults = {R"({"sliding_window": 4096, "max_window_layers": 28})"},
    .biases = "q k v",
    .keys = {.window = "sliding_window", .use_window = "use_sliding_window", .window_from = "max_window_layers"}};

const ArchDesc kQwen3 = {
    .name = "qwen3",
    .hf_class = "Qwen3ForCausalLM",
    .model_type = "qwen3",
    .defaults = {R"({"sliding_window": 4096, "max_window_layers": 28, "head_dim": 128})"},
    .q_norm = "self_attn.q_norm",
    .k_norm = "self_attn.k_norm",
    .keys = {.window = "sliding_window", .use_window = "use_sliding_window", .window_from = "max_window_layers"}};

const ArchDesc kQwen2Moe = {.name = "qwen2_moe",
                            .hf_class = "Qwen2MoeForCausalLM",
                            .model_type = "qwen2_moe",
                            .defaults = {R"({"sliding_window": 4096, "max_window_layers": 28})"},
                            .router = "mlp.gate",
                            .shared_gate = "mlp.shared_expert.gate_proj",
                            .shared_up = "mlp.shared_expert.up_proj",
                            .shared_down = "mlp.shared_expert.down_proj",
                            .shared_scale = "mlp.shared_expert_gate",
                            .biases = "q k v",
                            .keys = {.window = "sliding_window",
                                     .use_window = "use_sliding_window",
                                     .window_from = "max_window_layers",
                                     .experts = "num_experts|num_local_experts",
                                     .shared_width = "shared_expert_intermediate_size",
                                     .normalize = "norm_topk_prob",
                                     .sparse_step = "decoder_sparse_step",
                                     .dense_layers = "mlp_only_layers"}};

const ArchDesc kQwen3Moe = {.name = "qwen3_moe",
                            .hf_class = "Qwen3MoeForCausalLM",
                            .model_type = "qwen3_moe",
                            .defaults = {R"({"sliding_window": 4096})"},
                            .q_norm = "self_attn.q_norm",
                            .k_norm = "self_attn.k_norm",
                            .router = "mlp.gate",
                            .keys = {.window = "sliding_window",
                                     .use_window = "use_sliding_window",
                                     .experts = "num_experts|num_local_experts",
                                     .normalize = "norm_topk_prob",
                                     .sparse_step = "decoder_sparse_step",
                                     .dense_layers = "mlp_only_layers"}};

}  // namespace qz
