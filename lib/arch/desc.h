// A model family as data. The block forward in lib/model has one branch per field value, never one per family.
#pragma once
#include <cstdint>
#include <string_view>

namespace qz {

enum class NormKind : int32_t { kRms, kLayer };
enum class PositionKind : int32_t { kRope, kLearned, kAlibi };
// down(act(gate x) * up x)  |  down(act(up x))
enum class MlpKind : int32_t { kGated, kPlain };
// Rows of a fused qkv: all q, all k, all v  |  for each head of k: the heads of q that read it, k, v.
enum class QkvOrder : int32_t { kJoined, kGrouped };
// Dimensions that rotate together: (i, i + half)  |  (2i, 2i + 1).
enum class RopePairs : int32_t { kHalves, kNeighbours };

struct JsonText {
  std::string_view text = "{}";
};

// What a router's outputs become before experts are chosen.
enum class Scoring : int32_t { kSoftmax, kSigmoid };

// Keys of config.json where families differ; "" = the family has none; "a|b": the first one that is there.
struct ConfigKeys {
  std::string_view hidden = "hidden_size", layers = "num_hidden_layers", vocab = "vocab_size";
  std::string_view heads = "num_attention_heads", kv_heads = "num_key_value_heads", head_dim = "head_dim";
  std::string_view one_kv_head = "";  // bool; true: all heads share one k and v (Falcon)
  std::string_view intermediate = "intermediate_size", max_seq = "max_position_embeddings";
  std::string_view activation = "hidden_act";
  std::string_view norm_eps = "rms_norm_eps";
  std::string_view embed_dim = "";        // width of the embedding when it is projected (OPT-350m)
  std::string_view norm_first = "";       // bool; false: norms follow the residual additions, none after the last block
  std::string_view no_final_norm = "";    // bool; true: no norm after the last block (OPT)
  std::string_view residual_normed = "";  // bool; true: what is added to is the normed stream (BLOOM)
  std::string_view parallel = "";         // bool: attention and MLP read the same stream
  std::string_view alibi = "";            // bool; true: ALiBi instead of the table's kind of positions (Falcon)
  std::string_view window = "";           // tokens of sliding attention; null = full
  std::string_view use_window = "";       // bool, false when absent: does the window count at all (Qwen)
  std::string_view window_from = "";      // the first block with a window, where layer_types is absent (Qwen)
  std::string_view window_pattern = "";   // every n-th layer is full where layer_types is absent (Gemma 3)
  std::string_view local_theta = "";      // rotary base of the layers with a window (Gemma 3)
  std::string_view rope_theta = "rope_theta", rope_partial = "partial_rotary_factor";
  std::string_view rope_neighbours = "";  // bool: are pairs (2i, 2i + 1)
  std::string_view q_rank = "", kv_rank = "", plain_dim = "", rope_dim = "", value_dim = "";  // of latent attention
  std::string_view scale_scores = "";    // bool; false: scores are not divided by sqrt(head_dim) (GPT-2)
  std::string_view scale_by_layer = "";  // bool; true: scores are divided by the number of the layer, from 1 (GPT-2)
  std::string_view query_scalar = "";    // scores are divided by its root instead of head_dim's (Gemma)
  std::string_view score_cap = "";       // scores s become cap * tanh(s / cap); null = none (Gemma 2)
  std::string_view logit_cap = "";       // the same for logits
  // Mixtures of experts.
  std::string_view experts = "", experts_per_token = "num_experts_per_tok";
  std::string_view expert_width = "moe_intermediate_size";  // intermediate of one expert
  std::string_view shared_width = "";                       // intermediate of the shared expert
  std::string_view shared_count = "";                       // or: how many experts wide it is
  std::string_view normalize = "";                          // bool: the weights of the chosen experts add up to 1
  std::string_view routed_scale = "";                       // factor of those weights
  std::string_view groups = "";                         // of experts, of which the best `top_groups` are chosen from
  std::string_view top_groups = "", group_method = "";  // "greedy": no groups after all
  std::string_view first_dense = "";                    // blocks at the bottom with a plain MLP
  std::string_view sparse_step = "";                    // every n-th block has experts
  std::string_view dense_layers = "";                   // list of blocks with a plain MLP
};

// Tensor names without ".weight"/".bias"; {} in `layer` is the block number; names inside a block are relative to it.
// A bias of a linear layer exists or not: the file says. An empty name means that the family has no such part.
struct ArchDesc {
  std::string_view name;        // "llama": what qz calls it
  std::string_view hf_class;    // "LlamaForCausalLM": config.json "architectures"; "A|B": either
  std::string_view model_type;  // "llama": config.json "model_type", used when architectures is absent
  // Conditions that config.json must meet, "key=value, key=value", value as JSON. Of the tables with one hf_class, the
  // one with most conditions that hold is taken.
  std::string_view when = "";
  // Keys that change what the model computes in ways that no field describes, and the values that this table computes,
  // written like `when`. Another value is refused; an absent one is the family's own.
  std::string_view only = "";
  // What keys mean that config.json does not have: an object of keys and values, as the class of transformers has them.
  // Published files rely on it (Gemma 3). A key that is there as null stays null.
  JsonText defaults = {};

  // A model with a language part: the key of config.json that holds its configuration; the name of its family, if that
  // is not looked up there; what stands in front of all its names; and what other files have instead of their leading
  // "model.", but for the head. Everything else of the model passes through, or is rounded without data.
  std::string_view text_config = "", text_family = "", text_prefix = "", text_body = "";
  // In front of every name but the head's; files without it are read too (as saved from the model without its head).
  std::string_view prefix = "";
  std::string_view layer = "model.layers.{}";
  std::string_view embed = "model.embed_tokens", positions = "", final_norm = "model.norm", head = "lm_head";
  std::string_view project_in = "", project_out = "";
  std::string_view token_types = "";  // a table whose row 0 is added to every embedding (BERT)
  std::string_view embed_norm = "";   // of the embeddings with their positions, before the first block
  // In front of the head, after the last norm: a linear layer with the activation, its norm, and, of a tied head, its
  // bias, a full tensor name (BERT). Or a layer with tanh, of a text's first token alone: a classifier's.
  std::string_view head_dense = "", head_norm = "", head_bias = "", pooler = "";
  std::string_view attn_norm = "input_layernorm", mlp_norm = "post_attention_layernorm";  // mlp_norm "" in parallel
                                                                                          // blocks: the same
  std::string_view attn_post_norm = "", mlp_post_norm = "";  // of what attention and MLP give, before it is added
  std::string_view q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj", o = "self_attn.o_proj";
  std::string_view qkv = "";  // q, k and v in one; their names do not count then
  std::string_view q_norm = "", k_norm = "";
  // Latent attention (DeepSeek-V2, arXiv 2405.04434); no kv_a: there is none. q = q_b(norm(q_a x)), or q alone where
  // the configuration gives no rank; kv_a gives the latent and the rotating part of all keys, kv_b each head's key and
  // value.
  std::string_view q_a = "", q_a_norm = "", q_b = "", kv_a = "", kv_a_norm = "", kv_b = "";
  std::string_view gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";
  std::string_view gate_up = "";  // gate, then up, in one; their names do not count then
  // A mixture of experts; no router: there is none. {} is the number of the expert.
  std::string_view router = "", router_bias = "";  // the bias counts for the choice only; a full tensor name
  std::string_view expert_gate = "mlp.experts.{}.gate_proj", expert_up = "mlp.experts.{}.up_proj";
  std::string_view expert_down = "mlp.experts.{}.down_proj";
  // All experts in one tensor, read where the file has it: [experts][gate, then up][hidden], [experts][hidden][width].
  std::string_view stacked_gate_up = "mlp.experts.gate_up_proj", stacked_down = "mlp.experts.down_proj";
  std::string_view shared_gate = "", shared_up = "", shared_down = "";  // the expert that every token goes to
  std::string_view shared_scale = "";                                   // sigmoid(shared_scale x) times its output

  // Roles of the linear layers that have a bias, for estimates from config.json alone; files speak for themselves.
  std::string_view biases = "";  // "q k v"

  NormKind norm = NormKind::kRms;
  double norm_offset = 0;  // norms multiply by weight + offset (Gemma: 1)
  PositionKind position = PositionKind::kRope;
  int32_t position_offset = 0;   // learned positions: row = position + offset (OPT: 2)
  bool max_seq_is_rows = false;  // keys.max_seq counts the rows, those before the offset among them (RoBERTa)
  RopePairs rope_pairs = RopePairs::kHalves;
  bool alibi_scaled = false;  // ALiBi is added before the scores are divided, its slopes in bfloat16 (Falcon)
  QkvOrder qkv_order = QkvOrder::kJoined;
  MlpKind mlp = MlpKind::kGated;
  Scoring scoring = Scoring::kSoftmax;
  bool normalize = false;     // the weights of the chosen experts add up to 1; keys.normalize says otherwise
  int32_t group_best = 1;     // a group of experts is as good as the sum of its n best (DeepSeek-V3: 2)
  bool causal = true;         // false: an encoder, whose tokens see the whole text
  bool norm_first = true;     // norms come before the halves of a block; keys.norm_first says otherwise
  bool parallel = false;      // attention and MLP read the same stream; keys.parallel says otherwise
  bool transposed = false;    // linear layers in blocks are stored [in, out] (GPT-2's Conv1D)
  bool embed_scaled = false;  // embeddings times sqrt(hidden) (Gemma)
  // Where config.json is silent:
  std::string_view default_activation = "silu";
  std::string_view head_activation = "";  // of head_dense; "": that of the blocks (RoBERTa: gelu, whatever theirs is)
  double default_eps = 1e-6;
  int32_t default_window = 0;          // sliding attention when keys.window is absent (Mistral: 4096); 0 = full
  int32_t default_window_pattern = 0;  // every n-th layer is full (Gemma 2: 2, Gemma 3: 6); 0 = none is
  bool default_tied = false;           // tie_word_embeddings (transformers: OPT true, llama false)
  int32_t default_kv_heads = 0;        // 0: as many as heads
  int32_t default_max_seq = 0;         // 0: the key is required
  int32_t intermediate_factor = 0;     // intermediate / hidden; 0: the key is required
  double default_rope_partial = 1;
  double default_theta = 10000;
  double default_local_theta = 0;  // 0: layers with a window rotate like the others
  ConfigKeys keys = {};
};

}  // namespace qz
