// A model family as data. The block forward in lib/model has one branch per field value, never one per family.
#pragma once
#include <cstdint>
#include <string_view>

namespace qz {

enum class NormKind : int32_t { kRms, kLayer };
enum class PositionKind : int32_t { kRope, kLearned };
enum class MlpKind : int32_t { kGated, kPlain };  // down(act(gate x) * up x)  |  down(act(up x))

// Keys of config.json where families differ; "" = the family has none.
struct ConfigKeys {
  std::string_view hidden = "hidden_size", layers = "num_hidden_layers", vocab = "vocab_size";
  std::string_view heads = "num_attention_heads", kv_heads = "num_key_value_heads", head_dim = "head_dim";
  std::string_view intermediate = "intermediate_size", max_seq = "max_position_embeddings";
  std::string_view activation = "hidden_act";
  std::string_view norm_eps = "rms_norm_eps";  // "": 1e-5, PyTorch's LayerNorm
  std::string_view embed_dim = "";             // width of the embedding when it is projected (OPT-350m)
  std::string_view norm_first =
      "";  // bool; false: norms follow the residual additions, none after the last block (OPT)
  std::string_view no_final_norm = "";  // bool; true: no norm after the last block (OPT)
  std::string_view window = "";         // tokens of sliding attention; null = full
  std::string_view use_window = "";     // bool, false when absent: does the window count at all (Qwen)
};

// Tensor names without ".weight"/".bias"; {} in `layer` is the block number; names inside a block are relative to it.
// A bias exists or not: the file says. An empty name means that the family has no such part.
struct ArchDesc {
  std::string_view name;        // "llama": what qz calls it
  std::string_view hf_class;    // "LlamaForCausalLM": config.json "architectures"
  std::string_view model_type;  // "llama": config.json "model_type", used when architectures is absent

  std::string_view layer = "model.layers.{}";
  std::string_view embed = "model.embed_tokens", positions = "", final_norm = "model.norm", head = "lm_head";
  std::string_view project_in = "", project_out = "";
  std::string_view attn_norm = "input_layernorm", mlp_norm = "post_attention_layernorm";
  std::string_view q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj", o = "self_attn.o_proj";
  std::string_view q_norm = "", k_norm = "";
  std::string_view gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";

  // Roles of the linear layers that have a bias, for estimates from config.json alone; files speak for themselves.
  std::string_view biases = "";  // "q k v"

  NormKind norm = NormKind::kRms;
  PositionKind position = PositionKind::kRope;
  int32_t position_offset = 0;  // learned positions: row = position + offset (OPT: 2)
  MlpKind mlp = MlpKind::kGated;
  int32_t default_window = 0;  // sliding attention when keys.window is absent (Mistral: 4096); 0 = full
  bool default_tied = false;   // tie_word_embeddings when the config does not say (transformers: OPT true, llama false)
  ConfigKeys keys = {};
};

}  // namespace qz
