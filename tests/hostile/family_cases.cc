// Rows CF, family by family: configurations that contradict themselves or the tensors.
#include "hostile/place.h"

namespace hostile {
namespace {

struct KeyCase {
  const char *golden, *what, *words, *key;
  Json value;  // null takes the key away
  qz_status status = QZ_STATUS_BAD_FILE;
};

struct TensorCase {
  const char *golden, *tensor;
};

std::vector<KeyCase> key_cases() {
  return {
      {"bloom", "heads do not divide the width",
       "hidden_size 48 is not a multiple of n_head 5 and there is no head_dim", "n_head", 5},
      {"bloom", "no width", "missing key hidden_size", "hidden_size", nullptr},
      {"bloom", "a layer too many", "missing tensors: transformer.h.2.input_layernorm.weight", "n_layer", 3},
      {"bloom", "a number for true", "apply_residual_connection_post_layernorm must be true or false, found 1",
       "apply_residual_connection_post_layernorm", 1},
      {"bloom", "no positions", "seq_length must be from 1 to 1073741824, found 0", "seq_length", 0},
      {"falcon-7b-style", "text for true", "multi_query must be true or false, found \"yes\"", "multi_query", "yes"},
      {"falcon-7b-style", "more keys than the tensors have",
       "query_key_value.weight' must have shape [144, 48] by config.json, found [72, 48]", "multi_query", false},
      {"falcon-7b-style", "a number for ALiBi", "alibi must be true or false, found 1", "alibi", 1},
      {"falcon-7b-style", "unknown activation", "activation \"mish\" is not known: silu", "activation", "mish",
       QZ_STATUS_UNSUPPORTED},
      {"falcon-7b-style", "the other decoder", "missing tensors: transformer.h.0.ln_attn.weight",
       "new_decoder_architecture", true},
      {"falcon-40b-style", "groups do not divide the heads",
       "num_attention_heads 8 is not a multiple of num_kv_heads 3", "num_kv_heads", 3},
      {"falcon-40b-style", "one norm announced", "missing tensors: transformer.h.0.input_layernorm.weight",
       "num_ln_in_parallel_attn", 1},
      {"falcon-40b-style", "another MLP", "must have shape [100, 64] by config.json, found [256, 64]",
       "ffn_hidden_size", 100},
      {"falcon-40b-style", "no key heads", "num_kv_heads must be from 1 to 65536 (limits.heads), found 0",
       "num_kv_heads", 0},
      {"gpt2", "heads do not divide the width", "n_embd 50 is not a multiple of n_head 4 and there is no head_dim",
       "n_embd", 50},
      {"gpt2", "no positions", "missing key n_positions", "n_positions", nullptr},
      {"gpt2", "another MLP", "'transformer.h.0.mlp.c_fc.bias' must have shape [100] by config.json, found [192]",
       "n_inner", 100},
      {"gpt2", "unknown activation", "activation_function \"quick_gelu\" is not known", "activation_function",
       "quick_gelu", QZ_STATUS_UNSUPPORTED},
      {"gpt2", "a number for scaling", "scale_attn_weights must be true or false, found 3", "scale_attn_weights", 3},
      {"gpt2", "more positions than the tensor has",
       "'transformer.wpe.weight' must have shape [100, 48] by config.json, found [64, 48]", "n_positions", 100},
      {"phi3-fused", "other key heads than the fused rows",
       "qkv_proj.weight' must have shape [192, 64] by config.json, found [128, 64]", "num_key_value_heads", 4},
      {"phi3-fused", "another width than the fused rows",
       "gate_up_proj.weight' must have shape [140, 64] by config.json, found [144, 64]", "intermediate_size", 70},
      {"phi3-fused", "longrope without factors",
       "rope_parameters: short_factor must be a list of 8 numbers, found nothing", "rope_parameters",
       Json({{"rope_type", "longrope"}})},
      {"phi3-fused", "longrope with few factors", "rope_parameters: short_factor must be a list of 8 numbers, found 2",
       "rope_parameters", Json({{"rope_type", "longrope"}, {"short_factor", Json::array({1, 2})}})},
      {"phi3-fused", "odd head_dim", "rotary positions need an even number of dimensions a head, found 17", "head_dim",
       17},
      {"gemma2", "scores divided by nothing", "query_pre_attn_scalar must be from 1e-06 to 1e+09, found 0",
       "query_pre_attn_scalar", 0},
      {"gemma2", "text for a cap", "attn_logit_softcapping must be a number, found \"no\"", "attn_logit_softcapping",
       "no"},
      {"gemma2", "a type of layer too many", "layer_types must be a list of 2 names, found 3", "layer_types",
       Json::array({"full_attention", "full_attention", "full_attention"})},
      {"gemma2", "unknown type of layer", "layer_types[0] is \"mamba\", full_attention and sliding_attention are known",
       "layer_types", Json::array({"mamba", "full_attention"}), QZ_STATUS_UNSUPPORTED},
      {"gemma2", "negative cap", "final_logit_softcapping must be from 1e-06 to 1e+09, found -3",
       "final_logit_softcapping", -3},
      {"gemma3", "rotation of a type is no object", "rope_parameters: full_attention: must be an object, found 3",
       "rope_parameters", Json({{"full_attention", 3}})},
      {"gemma3", "unknown rotation of a type", "rope_parameters: full_attention: rope_type \"xpos\" is not known",
       "rope_parameters", Json({{"full_attention", {{"rope_type", "xpos"}}}}), QZ_STATUS_UNSUPPORTED},
      {"mixtral", "more experts a token than there are", "num_experts_per_tok must be from 1 to 4, found 5",
       "num_experts_per_tok", 5},
      {"mixtral", "no experts", "num_local_experts must be from 1 to 4096 (limits.experts), found 0",
       "num_local_experts", 0},
      {"mixtral", "an expert too many", "6 missing tensors: model.layers.0.block_sparse_moe.experts.4.w1.weight",
       "num_local_experts", 5},
      {"qwen2-moe", "another shared expert",
       "shared_expert.gate_proj.weight' must have shape [40, 64] by config.json, found [48, 64]",
       "shared_expert_intermediate_size", 40},
      {"qwen2-moe", "a dense layer beyond the last", "mlp_only_layers must hold layers from 0 to 1, found 7",
       "mlp_only_layers", Json::array({7})},
      {"qwen2-moe", "dense layers are no list", "mlp_only_layers must be a list of layers, found 1", "mlp_only_layers",
       1},
      {"qwen2-moe", "experts every 0 layers", "decoder_sparse_step must be from 1 to 1073741824, found 0",
       "decoder_sparse_step", 0},
      {"qwen3-moe", "text for normalizing", "norm_topk_prob must be true or false, found \"x\"", "norm_topk_prob", "x"},
      {"deepseek-v3", "groups do not divide the experts", "n_routed_experts 8 is not a multiple of n_group 3",
       "n_group", 3},
      {"deepseek-v3", "groups that cannot give enough",
       "num_experts_per_tok 3 is more than 1 groups of 2 experts can give", "topk_group", 1},
      {"deepseek-v3", "no rank of keys", "missing key kv_lora_rank", "kv_lora_rank", nullptr},
      {"deepseek-v3", "odd rotating part", "rotary positions need an even number of dimensions a head, found 7",
       "qk_rope_head_dim", 7},
      {"deepseek-v3", "more dense layers than layers", "first_k_dense_replace must be from 0 to 2, found 3",
       "first_k_dense_replace", 3},
      {"deepseek-v3", "other values than the tensors",
       "kv_b_proj.weight' must have shape [84, 16] by config.json, found [88, 16]", "v_head_dim", 9},
      {"deepseek-v2", "unknown choice of experts",
       "topk_method \"magic\" is not known: greedy, group_limited_greedy, noaux_tc are", "topk_method", "magic",
       QZ_STATUS_UNSUPPORTED},
      {"deepseek-v2", "other weights of the chosen", "norm_topk_prob is true: deepseek_v2 is known with false only",
       "norm_topk_prob", true, QZ_STATUS_UNSUPPORTED},
      {"deepseek-v3", "another score", "scoring_func is \"softmax\": deepseek_v3 is known with \"sigmoid\" only",
       "scoring_func", "softmax", QZ_STATUS_UNSUPPORTED},
      {"gemma3", "an encoder", "use_bidirectional_attention is true: gemma3 is known with false only",
       "use_bidirectional_attention", true, QZ_STATUS_UNSUPPORTED},
      {"bert", "a decoder", "is_decoder is true: bert is known with false only", "is_decoder", true,
       QZ_STATUS_UNSUPPORTED},
      {"bert-classifier", "positions between tokens",
       "position_embedding_type is \"relative_key\": bert_classifier is known with \"absolute\" only",
       "position_embedding_type", "relative_key", QZ_STATUS_UNSUPPORTED},
      {"roberta", "positions that begin elsewhere", "pad_token_id is 3: roberta is known with 1 only", "pad_token_id",
       3, QZ_STATUS_UNSUPPORTED},
      {"gpt-neox", "text for parallel", "use_parallel_residual must be true or false, found \"no\"",
       "use_parallel_residual", "no"},
      {"gpt-neox", "more than all rotates", "partial_rotary_factor must be from 0 to 1, found 3", "rope_parameters",
       Json({{"partial_rotary_factor", 3}})},
  };
}

constexpr TensorCase kTensorCases[] = {
    {"bloom", "transformer.word_embeddings_layernorm.bias"},
    {"gemma2", "model.layers.0.post_feedforward_layernorm.weight"},
    {"mixtral", "model.layers.0.block_sparse_moe.gate.weight"},
    {"deepseek-v3", "model.layers.1.mlp.gate.e_score_correction_bias"},
    {"deepseek-v2", "model.layers.0.self_attn.q_a_layernorm.weight"},
};

}  // namespace

void add_family_cases(Cases* cases) {
  for (const KeyCase& k : key_cases()) {
    const std::string id = std::string("CF20 ") + k.golden + ": " + k.what;
    cases->push_back({id, k.status, k.words, [k](Place* place) {
                        ModelFiles files = ModelFiles::golden(std::string("models/") + k.golden);
                        files.config([&](Json* config) { (*config)[k.key] = k.value; });
                        return place->open(files);
                      }});
  }
  for (const TensorCase& t : kTensorCases) {
    const std::string words = std::string("1 missing tensor: ") + t.tensor;
    cases->push_back(
        {std::string("CF21 ") + t.golden + " without " + t.tensor, QZ_STATUS_BAD_FILE, words, [t](Place* place) {
           ModelFiles files = ModelFiles::golden(std::string("models/") + t.golden);
           files.remove_tensor(t.tensor);
           return place->open(files);
         }});
  }
}

}  // namespace hostile
