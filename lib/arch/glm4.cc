// GLM-4 (the 0414 models): gate and up in one, a norm before and after each half, neighbouring dimensions rotate, half
// of a head. GLM-4-9B of 2024 ("glm") is the same without the norms after.
#include "arch/tables.h"

namespace qz {
namespace {

constexpr ArchDesc kBase = {.name = "glm",
                            .hf_class = "GlmForCausalLM",
                            .model_type = "glm",
                            .defaults = {R"({"num_key_value_heads": 2, "head_dim": 128})"},
                            .gate_up = "mlp.gate_up_proj",
                            .biases = "q k v",
                            .rope_pairs = RopePairs::kNeighbours,
                            .default_eps = 1.5625e-7,
                            .default_rope_partial = 0.5};

constexpr ArchDesc glm4() {
  ArchDesc desc = kBase;
  desc.name = "glm4";
  desc.hf_class = "Glm4ForCausalLM";
  desc.model_type = "glm4";
  desc.attn_post_norm = "post_self_attn_layernorm";
  desc.mlp_post_norm = "post_mlp_layernorm";
  return desc;
}

}  // namespace

const ArchDesc kGlm = kBase;
const ArchDesc kGlm4 = glm4();

}  // namespace qz
