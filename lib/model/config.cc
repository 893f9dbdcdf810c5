#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "arch/list.h"
#include "base/json.h"
#include "model/config_reader.h"
#include "model/rope.h"

namespace qz {
namespace {

constexpr int64_t kMaxSeq = int64_t{1} << 30;

struct NamedActivation {
  const char* name;
  Activation kind;
};
constexpr NamedActivation kActivations[] = {
    {"silu", Activation::kSilu},          {"swish", Activation::kSilu},
    {"gelu", Activation::kGelu},          {"gelu_python", Activation::kGelu},
    {"gelu_new", Activation::kGeluTanh},  {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh}, {"relu", Activation::kRelu}};

Activation activation_named(ConfigReader* reader, const std::string& key, const std::string& name) {
  std::string known;
  for (const NamedActivation& a : kActivations) {
    if (name == a.name) return a.kind;
    known += (known.empty() ? "" : ", ") + std::string(a.name);
  }
  reader->fail(Code::kUnsupported, key + " \"" + name.substr(0, 60) + "\" is not known: " + known + " are");
  return Activation::kSilu;
}

// transformers 5 required the key of Llama's relatives; the table says what is meant where there is none.
void read_activations(ConfigReader* reader, const ArchDesc& desc, ModelConfig* c) {
  c->activation = activation_named(reader, reader->name_of(desc.keys.activation),
                                   reader->text_or(desc.keys.activation, std::string(desc.default_activation)));
  c->head_activation = desc.head_activation.empty()
                           ? c->activation
                           : activation_named(reader, "head_activation", std::string(desc.head_activation));
}

// Values that would change what the model computes in a way that the table does not describe.
void check_only(ConfigReader* reader, const ArchDesc& desc) {
  for (const Condition& only : conditions(desc.only)) {
    const Json* found = reader->find(only.key);
    if (found == nullptr || only.holds(*found)) continue;
    reader->fail(Code::kUnsupported, only.key + " is " + describe_json(*found) + ": " + std::string(desc.name) +
                                         " is known with " + only.value + " only");
  }
}

// transformers 5 writes "dtype", 4 wrote "torch_dtype"; very old files say "torch.float16". kNone when absent.
DType read_dtype(ConfigReader* reader) {
  const char* key = reader->find("dtype") != nullptr ? "dtype" : "torch_dtype";
  std::string name = reader->text_or(key, "");
  if (name.rfind("torch.", 0) == 0) name.erase(0, 6);
  if (name.empty() || name == "auto") return DType::kNone;
  if (name == "float32") return DType::kF32;
  if (name == "float16" || name == "half") return DType::kF16;
  if (name == "bfloat16") return DType::kBF16;
  reader->fail(Code::kUnsupported,
               std::string(key) + " \"" + name.substr(0, 60) + "\" is not float32, float16 or bfloat16");
  return DType::kNone;
}

// An id, or a list of which the first counts (Llama 3 has several ends of text). Ids outside the vocabulary mean
// "none".
int64_t read_token(const ConfigReader& reader, const char* key, int64_t vocab) {
  const Json* value = reader.find(key);
  if (value != nullptr && value->is_array() && !value->empty()) value = &value->front();
  if (value == nullptr || !value->is_number_integer()) return -1;
  const int64_t id = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)
                         ? -1
                         : value->get<int64_t>();
  return id >= 0 && id < vocab ? id : -1;
}

// A classifier's labels: as many as have names, else transformers' 2.
int64_t read_labels(ConfigReader* reader, int64_t most) {
  const Json* names = reader->find("id2label");
  if (names == nullptr) return reader->integer_or("num_labels", 2, 1, most, "limits.vocab");
  if (!names->is_object() || names->empty() || names->size() > static_cast<uint64_t>(most)) {
    reader->fail(Code::kBadFile, "id2label must be an object of 1 to " + std::to_string(most) + " names, found " +
                                     describe_json(*names));
    return 1;
  }
  return static_cast<int64_t>(names->size());
}

// Per layer: layer_types decides where it is present; else keys.window_from says how many layers at the bottom keep
// full attention; else the window holds everywhere.
std::vector<int64_t> read_windows(ConfigReader* reader, const Json& config, const ArchDesc& desc, int64_t layers) {
  std::vector<int64_t> windows(static_cast<size_t>(layers), 0);
  int64_t window = desc.default_window;
  if (!desc.keys.window.empty() && config.contains(std::string(desc.keys.window))) {
    window = reader->integer_or(desc.keys.window, 0, 0, kMaxSeq);  // null: full attention
  }
  if (!desc.keys.use_window.empty() && !reader->boolean_or(desc.keys.use_window, false)) window = 0;
  if (window == 0) return windows;
  if (const Json* types = reader->find("layer_types")) {
    if (!types->is_array() || types->size() != windows.size()) {
      reader->fail(Code::kBadFile, "layer_types must be a list of " + std::to_string(layers) + " names, found " +
                                       (types->is_array() ? std::to_string(types->size()) : describe_json(*types)));
      return windows;
    }
    for (size_t i = 0; i < windows.size(); ++i) {
      const Json& type = (*types)[i];
      const std::string name = type.is_string() ? type.get<std::string>() : std::string();
      if (name == "sliding_attention") {
        windows[i] = window;
      } else if (name != "full_attention") {
        reader->fail(Code::kUnsupported, "layer_types[" + std::to_string(i) + "] is " + describe_json(type) +
                                             ", full_attention and sliding_attention are known");
      }
    }
    return windows;
  }
  const int64_t every = reader->integer_or(desc.keys.window_pattern, desc.default_window_pattern, 1, kMaxSeq);
  const int64_t full = reader->integer_or(desc.keys.window_from, 0, 0, kMaxSeq);
  for (int64_t i = std::min(full, layers); i < layers; ++i) {
    if (every == 0 || (i + 1) % every != 0) windows[static_cast<size_t>(i)] = window;
  }
  return windows;
}

// What the scores of each layer are multiplied by.
std::vector<double> read_score_scales(ConfigReader* reader, const ConfigKeys& keys, const ModelConfig& c) {
  double scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  if (reader->find(keys.query_scalar) != nullptr) scale = 1 / std::sqrt(reader->number(keys.query_scalar, 1e-6, 1e9));
  if (!reader->boolean_or(keys.scale_scores, true)) scale = 1;
  if (c.latent.kv_rank > 0 && c.rope.kind != RopeKind::kDefault && c.rope.mscale_all_dim > 0) {
    const double m = yarn_mscale(c.rope.factor, c.rope.mscale_all_dim);
    scale *= m * m;
  }
  std::vector<double> scales(static_cast<size_t>(c.layers), scale);
  if (reader->boolean_or(keys.scale_by_layer, false)) {
    for (size_t i = 0; i < scales.size(); ++i) scales[i] /= static_cast<double>(i + 1);
  }
  return scales;
}

void read_latent(ConfigReader* reader, const ConfigKeys& keys, int64_t hidden_max, ModelConfig* c) {
  LatentConfig& latent = c->latent;
  latent.kv_rank = reader->integer(keys.kv_rank, 1, hidden_max, "limits.hidden");
  latent.q_rank = reader->integer_or(keys.q_rank, 0, 1, hidden_max, "limits.hidden");
  latent.plain = reader->integer(keys.plain_dim, 1, hidden_max, "limits.hidden");
  latent.rope = reader->integer(keys.rope_dim, 1, hidden_max, "limits.hidden");
  c->value_dim = reader->integer(keys.value_dim, 1, hidden_max, "limits.hidden");
  c->head_dim = latent.plain + latent.rope;
  c->kv_heads = c->heads;  // every head gets its own from the latent
  if (c->value_dim > hidden_max / c->heads) {
    reader->fail(Code::kBadFile, reader->name_of(keys.heads) + " " + std::to_string(c->heads) + " times " +
                                     reader->name_of(keys.value_dim) + " " + std::to_string(c->value_dim) +
                                     " is more than " + std::to_string(hidden_max) + " (limits.hidden)");
  }
}

// Which blocks have experts.
std::vector<uint8_t> read_moe_layers(ConfigReader* reader, const ConfigKeys& keys, int64_t layers) {
  std::vector<uint8_t> sparse(static_cast<size_t>(layers), 1);
  const int64_t dense = reader->integer_or(keys.first_dense, 0, 0, layers);
  const int64_t step = reader->integer_or(keys.sparse_step, 1, 1, kMaxSeq);
  for (int64_t i = 0; i < layers; ++i) sparse[static_cast<size_t>(i)] = i >= dense && (i + 1) % step == 0;
  const Json* list = reader->find(keys.dense_layers);
  if (list == nullptr) return sparse;
  const std::string name = reader->name_of(keys.dense_layers);
  if (!list->is_array()) {
    reader->fail(Code::kBadFile, name + " must be a list of layers, found " + describe_json(*list));
    return sparse;
  }
  for (const Json& value : *list) {
    const int64_t layer =
        value.is_number_unsigned() && value.get<uint64_t>() < static_cast<uint64_t>(layers) ? value.get<int64_t>() : -1;
    if (layer < 0) {
      reader->fail(Code::kBadFile, name + " must hold layers from 0 to " + std::to_string(layers - 1) + ", found " +
                                       describe_json(value));
      return sparse;
    }
    sparse[static_cast<size_t>(layer)] = 0;
  }
  return sparse;
}

void read_moe(ConfigReader* reader, const ArchDesc& desc, const Limits& limits, const ModelConfig& c, MoeConfig* moe) {
  const ConfigKeys& keys = desc.keys;
  const auto hidden_max = static_cast<int64_t>(limits.hidden), experts_max = static_cast<int64_t>(limits.experts);
  moe->experts = reader->integer(keys.experts, 1, experts_max, "limits.experts");
  moe->per_token = reader->integer(keys.experts_per_token, 1, moe->experts);
  moe->width = reader->integer(keys.expert_width, 1, hidden_max, "limits.hidden");
  const int64_t count = reader->integer_or(keys.shared_count, 0, 0, 1024);
  moe->shared_width =
      reader->integer_or(keys.shared_width, std::min(count * moe->width, hidden_max), 0, hidden_max, "limits.hidden");
  if (desc.shared_down.empty()) moe->shared_width = 0;
  moe->normalize = reader->boolean_or(keys.normalize, desc.normalize);
  moe->scoring = desc.scoring;
  moe->scale = reader->number_or(keys.routed_scale, 1, 1e-6, 1e6);
  moe->layers = read_moe_layers(reader, keys, c.layers);
  const std::string method = reader->text_or(keys.group_method, "");
  if (!method.empty() && method != "greedy" && method != "group_limited_greedy" && method != "noaux_tc") {
    reader->fail(Code::kUnsupported, reader->name_of(keys.group_method) + " \"" + method.substr(0, 60) +
                                         "\" is not known: greedy, group_limited_greedy, noaux_tc are");
  }
  if (method == "greedy") return;
  moe->groups = reader->integer_or(keys.groups, 1, 1, moe->experts);
  moe->top_groups = reader->integer_or(keys.top_groups, moe->groups, 1, moe->groups);
  moe->group_best = desc.group_best;
  if (moe->groups == 1) return;
  if (moe->experts % moe->groups != 0) {
    reader->fail(Code::kBadFile, reader->name_of(keys.experts) + " " + std::to_string(moe->experts) +
                                     " is not a multiple of " + reader->name_of(keys.groups) + " " +
                                     std::to_string(moe->groups));
    return;
  }
  const int64_t size = moe->experts / moe->groups;
  if (moe->group_best > size || moe->per_token > size * moe->top_groups) {
    reader->fail(Code::kBadFile, reader->name_of(keys.experts_per_token) + " " + std::to_string(moe->per_token) +
                                     " is more than " + std::to_string(moe->top_groups) + " groups of " +
                                     std::to_string(size) + " experts can give");
  }
}

// Heads against widths. Reading goes on after a failure, so nothing here divides by what was not read.
void check_heads(ConfigReader* reader, const ArchDesc& desc, int64_t hidden_max, ModelConfig* c) {
  if (c->heads % c->kv_heads != 0) {
    reader->fail(Code::kBadFile, reader->name_of(desc.keys.heads) + " " + std::to_string(c->heads) +
                                     " is not a multiple of " + reader->name_of(desc.keys.kv_heads) + " " +
                                     std::to_string(c->kv_heads));
  }
  if (c->head_dim == 0) {
    if (c->hidden % c->heads != 0) {
      reader->fail(Code::kBadFile, reader->name_of(desc.keys.hidden) + " " + std::to_string(c->hidden) +
                                       " is not a multiple of " + reader->name_of(desc.keys.heads) + " " +
                                       std::to_string(c->heads) + " and there is no head_dim");
    }
    c->head_dim = std::max<int64_t>(1, c->hidden / c->heads);
  }
  if (c->head_dim > hidden_max / c->heads) {  // their product is a width too, and sizes are made from it
    reader->fail(Code::kBadFile, reader->name_of(desc.keys.heads) + " " + std::to_string(c->heads) +
                                     " times head_dim " + std::to_string(c->head_dim) + " is more than " +
                                     std::to_string(hidden_max) + " (limits.hidden)");
  }
  if (c->latent.kv_rank == 0) c->value_dim = c->head_dim;
  if (c->position == PositionKind::kRope && rotary_dim(*c) % 2 != 0) {
    reader->fail(Code::kBadFile,
                 "rotary positions need an even number of dimensions a head, found " + std::to_string(rotary_dim(*c)));
  }
}

}  // namespace

Result<ModelConfig> parse_model_config(const Context& context, const Json& found, const ArchDesc& desc,
                                       const std::string& file) {
  if (!found.is_object()) return error(Code::kBadFile, "%s: must be an object", file.c_str());
  QZ_ASSIGN(const Json defaults, parse_json(desc.defaults.text, "defaults"));
  Json config = found;
  for (const auto& [key, value] : defaults.items())
    if (!config.contains(key)) config[key] = value;
  ConfigReader reader(context, config, file);
  const Limits& limits = context.limits;
  const auto hidden_max = static_cast<int64_t>(limits.hidden);
  const auto heads_max = static_cast<int64_t>(limits.heads);
  const ConfigKeys& keys = desc.keys;

  ModelConfig c;
  c.hidden = reader.integer(keys.hidden, 1, hidden_max, "limits.hidden");
  c.layers = reader.integer(keys.layers, 1, static_cast<int64_t>(limits.layers), "limits.layers");
  c.heads = reader.integer(keys.heads, 1, heads_max, "limits.heads");
  const int64_t kv_heads = desc.default_kv_heads > 0 ? desc.default_kv_heads : c.heads;
  c.kv_heads = reader.integer_or(keys.kv_heads, kv_heads, 1, heads_max, "limits.heads");
  if (reader.boolean_or(keys.one_kv_head, !keys.one_kv_head.empty())) c.kv_heads = 1;
  c.head_dim = reader.integer_or(keys.head_dim, 0, 1, hidden_max, "limits.hidden");
  if (!desc.kv_a.empty()) read_latent(&reader, keys, hidden_max, &c);
  const bool derived = desc.intermediate_factor > 0 && reader.find(keys.intermediate) == nullptr;
  c.intermediate =
      derived ? c.hidden * desc.intermediate_factor : reader.integer(keys.intermediate, 1, hidden_max, "limits.hidden");
  c.vocab = reader.integer(keys.vocab, 1, static_cast<int64_t>(limits.vocab), "limits.vocab");
  c.max_seq = desc.default_max_seq > 0 ? reader.integer_or(keys.max_seq, desc.default_max_seq, 1, kMaxSeq)
                                       : reader.integer(keys.max_seq, 1, kMaxSeq);
  if (desc.max_seq_is_rows) {
    c.max_seq -= desc.position_offset;
    if (c.max_seq < 1) {
      reader.fail(Code::kBadFile, reader.name_of(keys.max_seq) + " must be more than the " +
                                      std::to_string(desc.position_offset) + " rows that no token has");
    }
  }
  if (!desc.token_types.empty()) c.token_types = reader.integer_or("type_vocab_size", 2, 1, 1024);
  c.causal = desc.causal;
  c.pooled = !desc.pooler.empty();
  c.outputs = c.pooled ? read_labels(&reader, static_cast<int64_t>(limits.vocab)) : c.vocab;
  c.embed_dim = reader.integer_or(keys.embed_dim, c.hidden, 1, hidden_max, "limits.hidden");
  c.norm_eps = reader.number_or(keys.norm_eps, desc.default_eps, 0, 1);
  read_activations(&reader, desc, &c);
  // A classifier has a head of its own, whatever its file says of the one that it does not have.
  c.tied = desc.pooler.empty() && reader.boolean_or("tie_word_embeddings", desc.default_tied);
  c.norm_first = reader.boolean_or(keys.norm_first, desc.norm_first);
  c.final_norm = !desc.final_norm.empty() && c.norm_first && !reader.boolean_or(keys.no_final_norm, false);
  c.residual_normed = reader.boolean_or(keys.residual_normed, false);
  c.parallel = reader.boolean_or(keys.parallel, desc.parallel);
  c.position = reader.boolean_or(keys.alibi, false) ? PositionKind::kAlibi : desc.position;
  if (desc.embed_scaled) c.embed_scale = std::sqrt(static_cast<double>(c.hidden));
  c.score_cap = reader.number_or(keys.score_cap, 0, 1e-6, 1e9);
  c.logit_cap = reader.number_or(keys.logit_cap, 0, 1e-6, 1e9);
  c.dtype = read_dtype(&reader);
  c.rope_pairs = desc.rope_pairs;
  if (reader.find(keys.rope_neighbours) != nullptr) {
    c.rope_pairs = reader.boolean_or(keys.rope_neighbours, true) ? RopePairs::kNeighbours : RopePairs::kHalves;
  }
  if (c.position == PositionKind::kRope) read_rope(context, &reader, desc, file, &c);
  check_heads(&reader, desc, hidden_max, &c);
  c.window = read_windows(&reader, config, desc, c.layers);
  c.score_scale = read_score_scales(&reader, keys, c);
  c.rope_local.assign(static_cast<size_t>(c.layers), 0);
  if (desc.default_local_theta > 0) {
    for (size_t i = 0; i < c.window.size(); ++i) c.rope_local[i] = c.window[i] > 0;
  }
  if (!desc.router.empty()) read_moe(&reader, desc, limits, c, &c.moe);
  check_only(&reader, desc);
  c.bos = read_token(reader, "bos_token_id", c.vocab);
  c.eos = read_token(reader, "eos_token_id", c.vocab);
  QZ_TRY(reader.finish());
  return c;
}

const Json& text_part(const Json& config) {
  for (const char* key : {"text_config", "llm_config"})
    if (const auto it = config.find(key); it != config.end() && it->is_object() && it->contains("model_type"))
      return *it;
  return config;
}

}  // namespace qz
