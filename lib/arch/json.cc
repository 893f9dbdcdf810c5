// Descriptions as JSON. Each field of ArchDesc is named once, in visit_fields; reading, writing and the list of known
// keys follow.
#include <cmath>
#include <list>

#include "arch/list.h"

#include "base/json.h"

namespace qz {
namespace {

// Calls v(name, field) for every field of `d`, which is an ArchDesc, const or not.
template <class Desc, class Visitor>
void visit_fields(Desc& d, Visitor& v) {
  v("name", d.name), v("hf_class", d.hf_class), v("model_type", d.model_type), v("when", d.when), v("only", d.only),
      v("defaults", d.defaults);
  v("text_config", d.text_config), v("text_family", d.text_family), v("text_prefix", d.text_prefix),
      v("text_body", d.text_body);
  v("prefix", d.prefix), v("layer", d.layer), v("embed", d.embed), v("positions", d.positions);
  v("final_norm", d.final_norm), v("head", d.head), v("project_in", d.project_in), v("project_out", d.project_out);
  v("token_types", d.token_types), v("embed_norm", d.embed_norm), v("head_dense", d.head_dense);
  v("head_norm", d.head_norm), v("head_bias", d.head_bias), v("pooler", d.pooler), v("attn_norm", d.attn_norm),
      v("mlp_norm", d.mlp_norm);
  v("attn_post_norm", d.attn_post_norm), v("mlp_post_norm", d.mlp_post_norm);
  v("q", d.q), v("k", d.k), v("v", d.v), v("o", d.o), v("qkv", d.qkv), v("q_norm", d.q_norm), v("k_norm", d.k_norm);
  v("q_a", d.q_a), v("q_a_norm", d.q_a_norm), v("q_b", d.q_b), v("kv_a", d.kv_a), v("kv_a_norm", d.kv_a_norm);
  v("kv_b", d.kv_b);
  v("gate", d.gate), v("up", d.up), v("down", d.down), v("gate_up", d.gate_up);
  v("router", d.router), v("router_bias", d.router_bias), v("expert_gate", d.expert_gate);
  v("expert_up", d.expert_up), v("expert_down", d.expert_down), v("stacked_gate_up", d.stacked_gate_up);
  v("stacked_down", d.stacked_down), v("shared_gate", d.shared_gate), v("shared_up", d.shared_up);
  v("shared_down", d.shared_down), v("shared_scale", d.shared_scale), v("biases", d.biases);
  v("scoring", d.scoring), v("normalize", d.normalize), v("group_best", d.group_best);
  v("norm", d.norm), v("norm_offset", d.norm_offset), v("position", d.position);
  v("position_offset", d.position_offset), v("rope_pairs", d.rope_pairs), v("alibi_scaled", d.alibi_scaled);
  v("qkv_order", d.qkv_order), v("mlp", d.mlp), v("parallel", d.parallel), v("transposed", d.transposed);
  v("causal", d.causal), v("norm_first", d.norm_first), v("max_seq_is_rows", d.max_seq_is_rows);
  v("embed_scaled", d.embed_scaled);
  v("default_activation", d.default_activation), v("head_activation", d.head_activation);
  v("default_eps", d.default_eps);
  v("default_window", d.default_window), v("default_tied", d.default_tied), v("default_kv_heads", d.default_kv_heads);
  v("default_max_seq", d.default_max_seq), v("intermediate_factor", d.intermediate_factor);
  v("default_rope_partial", d.default_rope_partial), v("default_theta", d.default_theta);
  v("default_window_pattern", d.default_window_pattern), v("default_local_theta", d.default_local_theta);
}

template <class Keys, class Visitor>
void visit_keys(Keys& k, Visitor& v) {
  v("hidden", k.hidden), v("layers", k.layers), v("heads", k.heads), v("kv_heads", k.kv_heads);
  v("head_dim", k.head_dim), v("one_kv_head", k.one_kv_head), v("intermediate", k.intermediate), v("vocab", k.vocab);
  v("max_seq", k.max_seq), v("norm_eps", k.norm_eps), v("activation", k.activation), v("embed_dim", k.embed_dim);
  v("norm_first", k.norm_first), v("no_final_norm", k.no_final_norm), v("residual_normed", k.residual_normed);
  v("parallel", k.parallel), v("alibi", k.alibi), v("window", k.window), v("use_window", k.use_window),
      v("window_from", k.window_from);
  v("window_pattern", k.window_pattern), v("local_theta", k.local_theta), v("rope_theta", k.rope_theta);
  v("rope_partial", k.rope_partial), v("scale_scores", k.scale_scores), v("scale_by_layer", k.scale_by_layer);
  v("query_scalar", k.query_scalar), v("score_cap", k.score_cap), v("logit_cap", k.logit_cap);
  v("rope_neighbours", k.rope_neighbours), v("q_rank", k.q_rank), v("kv_rank", k.kv_rank);
  v("plain_dim", k.plain_dim), v("rope_dim", k.rope_dim), v("value_dim", k.value_dim);
  v("experts", k.experts), v("experts_per_token", k.experts_per_token), v("expert_width", k.expert_width);
  v("shared_width", k.shared_width), v("shared_count", k.shared_count), v("normalize", k.normalize);
  v("routed_scale", k.routed_scale), v("groups", k.groups), v("top_groups", k.top_groups);
  v("group_method", k.group_method), v("first_dense", k.first_dense), v("sparse_step", k.sparse_step);
  v("dense_layers", k.dense_layers);
}

using Words = std::vector<const char*>;  // of an enumeration, by value
const Words& words_of(NormKind) {
  static const Words words = {"rms", "layer"};
  return words;
}
const Words& words_of(PositionKind) {
  static const Words words = {"rope", "learned", "alibi"};
  return words;
}
const Words& words_of(MlpKind) {
  static const Words words = {"gated", "plain"};
  return words;
}
const Words& words_of(QkvOrder) {
  static const Words words = {"joined", "grouped"};
  return words;
}
const Words& words_of(Scoring) {
  static const Words words = {"softmax", "sigmoid"};
  return words;
}
const Words& words_of(RopePairs) {
  static const Words words = {"halves", "neighbours"};
  return words;
}

struct Writer {
  Json out = Json::object();
  void operator()(const char* name, std::string_view v) { out[name] = std::string(v); }
  void operator()(const char* name, JsonText v) { out[name] = Json::parse(v.text); }
  void operator()(const char* name, int32_t v) { out[name] = v; }
  void operator()(const char* name, bool v) { out[name] = v; }
  void operator()(const char* name, double v) { out[name] = v; }
  template <class Enum>
  void operator()(const char* name, Enum v) {
    out[name] = words_of(v)[static_cast<size_t>(v)];
  }
};

struct OwnedDesc {
  ArchDesc desc;
  std::list<std::string> strings;  // addresses stay
};

struct Reader {
  const Json& json;
  OwnedDesc& owner;
  std::vector<std::string> known;
  Status status;

  const Json* value(const char* name) {
    known.emplace_back(name);
    auto it = json.find(name);
    return it == json.end() || !status.ok() ? nullptr : &*it;
  }
  void wrong(const char* name, const char* expected) {
    status = error(Code::kInvalidArgument, "arch_json: '%s' must be %s", name, expected);
  }
  void operator()(const char* name, std::string_view& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    if (!v->is_string()) return wrong(name, "a string");
    field = owner.strings.emplace_back(v->get<std::string>());
  }
  void operator()(const char* name, JsonText& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    if (!v->is_object()) return wrong(name, "an object");
    field.text = owner.strings.emplace_back(dump_json(*v));
  }
  void operator()(const char* name, int32_t& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    if (!v->is_number_unsigned() || v->get<uint64_t>() > 1u << 24) return wrong(name, "an integer from 0 to 2^24");
    field = v->get<int32_t>();
  }
  void operator()(const char* name, bool& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    if (!v->is_boolean()) return wrong(name, "true or false");
    field = v->get<bool>();
  }
  void operator()(const char* name, double& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    if (!v->is_number() || !(std::abs(v->get<double>()) <= 1e30)) return wrong(name, "a number up to 1e30");
    field = v->get<double>();
  }
  template <class Enum>
  void operator()(const char* name, Enum& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    const Words& words = words_of(field);
    std::string expected;
    for (size_t i = 0; i < words.size(); ++i) {
      if (v->is_string() && v->get<std::string>() == words[i]) {
        field = static_cast<Enum>(i);
        return;
      }
      expected += std::string(i == 0 ? "\"" : i + 1 == words.size() ? " or \"" : ", \"") + words[i] + "\"";
    }
    wrong(name, expected.c_str());
  }
  // Keys of the JSON that no field has.
  Status finish() {
    if (!status.ok()) return status;
    for (const auto& item : json.items()) {
      bool found = false;
      for (const std::string& name : known) found = found || name == item.key();
      if (!found) return error(Code::kInvalidArgument, "arch_json: unknown key '%s'", item.key().c_str());
    }
    return {};
  }
};

Status check_desc(const ArchDesc& d) {
  if (!d.text_config.empty()) return {};  // the names are those of the family that is found there
  const bool fused_qkv = !d.qkv.empty(), fused_up = !d.gate_up.empty();
  const std::pair<const char*, bool> missing[] = {
      {"name", d.name.empty()},
      {"embed", d.embed.empty()},
      {"q", !fused_qkv && d.q.empty()},
      {"k", !fused_qkv && d.kv_a.empty() && d.k.empty()},
      {"v", !fused_qkv && d.kv_a.empty() && d.v.empty()},
      {"kv_a_norm", !d.kv_a.empty() && d.kv_a_norm.empty()},
      {"kv_b", !d.kv_a.empty() && d.kv_b.empty()},
      {"q_a_norm", !d.q_a.empty() && d.q_a_norm.empty()},
      {"q_b", !d.q_a.empty() && d.q_b.empty()},
      {"o", d.o.empty()},
      {"up", !fused_up && d.up.empty()},
      {"down", d.down.empty()},
      {"gate", !fused_up && d.mlp == MlpKind::kGated && d.gate.empty()},
      {"positions", d.position == PositionKind::kLearned && d.positions.empty()},
      {"attn_norm", d.attn_norm.empty() && d.attn_post_norm.empty()},
      {"mlp_norm", !d.parallel && d.mlp_norm.empty() && d.mlp_post_norm.empty()}};
  for (const auto& [name, is_missing] : missing) {
    if (is_missing) return error(Code::kInvalidArgument, "arch_json: '%s' must not be empty", name);
  }
  if (fused_up && d.mlp != MlpKind::kGated) {
    return error(Code::kInvalidArgument, "arch_json: 'gate_up' needs 'mlp' to be \"gated\"");
  }
  for (const auto& [name, text] : {std::pair("when", d.when), std::pair("only", d.only)}) {
    for (const Condition& condition : conditions(text)) {
      if (!condition.key.empty() && !condition.value.empty()) continue;
      return error(Code::kInvalidArgument, "arch_json: '%s' must be key=value pairs, found \"%s\"", name,
                   std::string(text).c_str());
    }
  }
  for (std::string_view name : {d.expert_gate, d.expert_up, d.expert_down}) {
    if (!d.router.empty() && name.find("{}") == std::string_view::npos) {
      return error(Code::kInvalidArgument, "arch_json: names of experts must contain {}, found \"%s\"",
                   std::string(name).c_str());
    }
  }
  const size_t slot = d.layer.find("{}");
  if (slot == std::string_view::npos || d.layer.find("{}", slot + 2) != std::string_view::npos) {
    return error(Code::kInvalidArgument, "arch_json: 'layer' must contain {} once, found \"%s\"",
                 std::string(d.layer).c_str());
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const ArchDesc>> arch_from_json(std::string_view text) {
  QZ_ASSIGN(const Json json, parse_json(text, "arch_json"));
  if (!json.is_object()) return error(Code::kInvalidArgument, "arch_json: must be an object");
  auto owner = std::make_shared<OwnedDesc>();
  Reader reader{json, *owner, {"base", "keys"}, {}};
  if (auto base = json.find("base"); base != json.end()) {
    const ArchDesc* found = nullptr;
    std::string names;
    for (const ArchDesc* d : architectures()) {
      if (base->is_string() && base->get<std::string>() == d->name) found = d;
      names += (names.empty() ? "" : ", ") + std::string(d->name);
    }
    if (found == nullptr) return error(Code::kInvalidArgument, "arch_json: 'base' must be one of %s", names.c_str());
    owner->desc = *found;
  }
  visit_fields(owner->desc, reader);
  QZ_TRY(reader.finish());
  if (auto keys = json.find("keys"); keys != json.end()) {
    if (!keys->is_object()) return error(Code::kInvalidArgument, "arch_json: 'keys' must be an object");
    Reader key_reader{*keys, *owner, {}, {}};
    visit_keys(owner->desc.keys, key_reader);
    QZ_TRY(key_reader.finish());
  }
  QZ_TRY(check_desc(owner->desc));
  return std::shared_ptr<const ArchDesc>(owner, &owner->desc);
}

Json arch_to_json(const ArchDesc& desc) {
  Writer writer, keys;
  visit_fields(desc, writer);
  visit_keys(desc.keys, keys);
  writer.out["keys"] = std::move(keys.out);
  return std::move(writer.out);
}

}  // namespace qz
