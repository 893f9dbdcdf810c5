// Mixtral: Mistral with a mixture of experts in every block; the weights of the chosen experts add up to 1.
#include "arch/tables.h"

namespace qz {

const ArchDesc kMixtral = {
    .name = "mixtral",
    .hf_class = "MixtralForCausalLM",
    .model_type = "mixtral",
    .defaults = {R"({"rope_theta": 1000000})"},
    .router = "block_sparse_moe.gate",
    .expert_gate = "block_sparse_moe.experts.{}.w1",
    .expert_up = "block_sparse_moe.experts.{}.w3",
    .expert_down = "block_sparse_moe.experts.{}.w2",
    .normalize = true,
    .default_eps = 1e-5,
    .keys = {.window = "sliding_window", .experts = "num_local_experts", .expert_width = "intermediate_size"}};

}  // namespace qz
