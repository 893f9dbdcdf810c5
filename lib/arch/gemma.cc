// Gemma: norms that multiply by weight + 1, embeddings times sqrt(hidden). Gemma 2: a norm before and after each half,
// windows on every other layer, soft caps on scores and logits. Gemma 3: norms over each head of q and k, windows with
// their own rotary base on five layers of six.
#include "arch/tables.h"

namespace qz {
namespace {

constexpr ArchDesc kBase = {.name = "gemma",
                            .hf_class = "GemmaForCausalLM",
                            .model_type = "gemma",
                            .only = "use_bidirectional_attention=false",
                            .defaults = {R"({"head_dim": 256})"},
                            .norm_offset = 1,
                            .embed_scaled = true,
                            .default_activation = "gelu_pytorch_tanh",
                            .default_tied = true,
                            .keys = {.activation = "hidden_activation"}};

constexpr ArchDesc gemma2() {
  ArchDesc desc = kBase;
  desc.name = "gemma2";
  desc.hf_class = "Gemma2ForCausalLM";
  desc.model_type = "gemma2";
  desc.defaults = {R"({"query_pre_attn_scalar": 256, "attn_logit_softcapping": 50, "final_logit_softcapping": 30,
                       "head_dim": 256})"};
  desc.mlp_norm = "pre_feedforward_layernorm";
  desc.attn_post_norm = "post_attention_layernorm";
  desc.mlp_post_norm = "post_feedforward_layernorm";
  desc.default_window = 4096;
  desc.keys.window = "sliding_window";
  desc.keys.window_pattern = "_sliding_window_pattern|sliding_window_pattern";
  desc.default_window_pattern = 2;
  desc.keys.query_scalar = "query_pre_attn_scalar";
  desc.keys.score_cap = "attn_logit_softcapping";
  desc.keys.logit_cap = "final_logit_softcapping";
  return desc;
}

constexpr ArchDesc gemma3() {
  ArchDesc desc = gemma2();
  desc.name = "gemma3";
  desc.hf_class = "Gemma3ForCausalLM";
  desc.model_type = "gemma3_text";
  // What google/gemma-3-4b-it leaves out.
  desc.defaults = {R"({"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
                       "max_position_embeddings": 131072, "query_pre_attn_scalar": 256})"};
  desc.q_norm = "self_attn.q_norm";
  desc.k_norm = "self_attn.k_norm";
  desc.default_window_pattern = 6;
  desc.default_theta = 1000000;
  desc.default_local_theta = 10000;
  desc.keys.local_theta = "rope_local_base_freq";
  return desc;
}

}  // namespace

const ArchDesc kGemma = kBase;
const ArchDesc kGemma2 = gemma2();
const ArchDesc kGemma3 = gemma3();

}  // namespace qz
