// config.json, understood: the numbers that a forward pass needs, whatever style of keys the file uses
// (torch_dtype / dtype, rope_theta + rope_scaling / rope_parameters).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "arch/desc.h"
#include "base/context.h"
#include "base/json_fwd.h"
#include "kernels/ops.h"
#include "tensor/dtype.h"

namespace qz {

enum class RopeKind : int32_t { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongRope };
struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;  // llama3 uses all three
  double original_max_seq = 0;                                   // llama3, yarn, dynamic, longrope
  double beta_fast = 32, beta_slow = 1, attention_factor = 0, mscale = 0, mscale_all_dim = 0;  // yarn; 0 = not given
  bool truncate = true;                                                                        // yarn
  double partial = 1;                                                                          // partial_rotary_factor
  std::vector<float> short_factors = {},
                     long_factors = {};  // longrope: one a pair, up to the original length and beyond it
};

struct LatentConfig {           // latent attention
  int64_t kv_rank = 0;          // 0: there is none
  int64_t q_rank = 0;           // 0: q is one layer
  int64_t plain = 0, rope = 0;  // dimensions of a query or key that do not rotate, then those that do
};

struct MoeConfig {
  int64_t experts = 0;                                 // 0: no mixture of experts
  int64_t per_token = 0, width = 0, shared_width = 0;  // shared_width 0: no shared expert
  int64_t groups = 1, top_groups = 1, group_best = 1;
  Scoring scoring = Scoring::kSoftmax;
  bool normalize = false;
  double scale = 1;
  std::vector<uint8_t> layers;  // per layer: 1 = experts, 0 = a plain MLP
};

struct ModelConfig {
  int64_t hidden = 0, layers = 0, heads = 0, kv_heads = 0, intermediate = 0, vocab = 0, max_seq = 0;
  int64_t head_dim = 0;     // of queries and keys
  int64_t value_dim = 0;    // of values
  int64_t token_types = 0;  // rows of the table of token types
  int64_t outputs = 0;      // of the head: the vocabulary, or a classifier's labels
  int64_t embed_dim = 0;    // == hidden unless the family projects (OPT-350m)
  double norm_eps = 1e-6;
  Activation activation = Activation::kSilu;
  Activation head_activation = Activation::kSilu;  // of what stands in front of an encoder's head
  bool tied = false;                               // the head is the embedding
  bool norm_first = true;                          // false: norm after the residual addition (OPT-350m)
  bool final_norm = true;                          // false: none after the last block (OPT-350m)
  bool residual_normed = false;  // what a half of a block adds to is its normed input (BLOOM's option)
  bool causal = true;            // false: an encoder
  bool pooled = false;           // the head reads a text's first token alone: a classifier
  bool parallel = false;         // attention and MLP read the same stream
  PositionKind position = PositionKind::kRope;
  double embed_scale = 1;  // of embeddings
  double score_cap = 0;    // of attention scores; 0: none
  double logit_cap = 0;    // of logits; 0: none
  LatentConfig latent;
  MoeConfig moe;
  RopeConfig rope;
  RopePairs rope_pairs = RopePairs::kHalves;
  RopeConfig local_rope;            // of the layers whose rope_local is set
  std::vector<uint8_t> rope_local;  // per layer
  std::vector<double> score_scale;  // per layer
  std::vector<int64_t> window;      // per layer; 0 = full attention
  DType dtype = DType::kF32;        // of the checkpoint, as config.json says
  int64_t bos = -1, eos = -1;       // -1: not given
};

// One message lists every missing key; absurd numbers meet context.limits first (reliability rules CF02 … CF06).
Result<ModelConfig> parse_model_config(const Context& context, const Json& config, const ArchDesc& desc,
                                       const std::string& file);

// The part of a config.json that describes the language model: of a multimodal model its text_config, else all of it.
const Json& text_part(const Json& config);

}  // namespace qz
