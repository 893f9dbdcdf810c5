// DeepSeek-V2 and V3: latent attention, shared experts, and a choice of experts within the best groups; V3 chooses by
// sigmoids with a bias. What norm_topk_prob does in V2 is not the same in its authors' code, transformers and vLLM; no
// published model has it.
#include "arch/tables.h"

namespace qz {
namespace {

constexpr ArchDesc kBase = {.name = "deepseek_v2",
                            .hf_class = "DeepseekV2ForCausalLM",
                            .model_type = "deepseek_v2",
                            .only = "scoring_func=\"softmax\", norm_topk_prob=false, moe_layer_freq=1",
                            .defaults = {R"({"n_shared_experts": 2})"},
                            .q_a = "self_attn.q_a_proj",
                            .q_a_norm = "self_attn.q_a_layernorm",
                            .q_b = "self_attn.q_b_proj",
                            .kv_a = "self_attn.kv_a_proj_with_mqa",
                            .kv_a_norm = "self_attn.kv_a_layernorm",
                            .kv_b = "self_attn.kv_b_proj",
                            .router = "mlp.gate",
                            .shared_gate = "mlp.shared_experts.gate_proj",
                            .shared_up = "mlp.shared_experts.up_proj",
                            .shared_down = "mlp.shared_experts.down_proj",
                            .rope_pairs = RopePairs::kNeighbours,
                            .keys = {.head_dim = "",
                                     .q_rank = "q_lora_rank",
                                     .kv_rank = "kv_lora_rank",
                                     .plain_dim = "qk_nope_head_dim",
                                     .rope_dim = "qk_rope_head_dim",
                                     .value_dim = "v_head_dim",
                                     .experts = "n_routed_experts|num_local_experts",
                                     .shared_count = "n_shared_experts",
                                     .normalize = "norm_topk_prob",
                                     .routed_scale = "routed_scaling_factor",
                                     .groups = "n_group",
                                     .top_groups = "topk_group",
                                     .group_method = "topk_method",
                                     .first_dense = "first_k_dense_replace"}};

constexpr ArchDesc v3() {
  ArchDesc desc = kBase;
  desc.name = "deepseek_v3";
  desc.hf_class = "DeepseekV3ForCausalLM";
  desc.model_type = "deepseek_v3";
  desc.only = "scoring_func=\"sigmoid\", moe_layer_freq=1";
  desc.defaults = {R"({"n_shared_experts": 1, "routed_scaling_factor": 2.5})"};
  desc.router_bias = "mlp.gate.e_score_correction_bias";
  desc.scoring = Scoring::kSigmoid;
  desc.normalize = true;
  desc.group_best = 2;
  desc.keys.rope_neighbours = "rope_interleave";
  return desc;
}

}  // namespace

const ArchDesc kDeepseekV2 = kBase;
const ArchDesc kDeepseekV3 = v3();

}  // namespace qz
