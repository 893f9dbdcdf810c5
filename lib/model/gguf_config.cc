// Keys: ggml's docs/gguf.md and gguf-py's constants.py.
#include "model/gguf_config.h"

#include <charconv>
#include <cmath>

#include "base/json.h"

namespace qz {
namespace {

struct Key {
  std::string_view gguf;
  std::string_view ConfigKeys::* hf;
  bool required;
};
constexpr Key kKeys[] = {
    {"context_length", &ConfigKeys::max_seq, true},
    {"embedding_length", &ConfigKeys::hidden, true},
    {"block_count", &ConfigKeys::layers, true},
    {"feed_forward_length", &ConfigKeys::intermediate, true},
    {"attention.head_count", &ConfigKeys::heads, true},
    {"attention.head_count_kv", &ConfigKeys::kv_heads, false},
    {"attention.key_length", &ConfigKeys::head_dim, false},
    {"attention.layer_norm_rms_epsilon", &ConfigKeys::norm_eps, false},
    {"attention.layer_norm_epsilon", &ConfigKeys::norm_eps, false},
    {"attention.sliding_window", &ConfigKeys::window, false},
    {"rope.freq_base", &ConfigKeys::rope_theta, false},
    {"expert_count", &ConfigKeys::experts, false},
    {"expert_used_count", &ConfigKeys::experts_per_token, false},
    {"expert_feed_forward_length", &ConfigKeys::expert_width, false},
    {"expert_shared_feed_forward_length", &ConfigKeys::shared_width, false},
};

// float32 as the shortest decimal that is it: 1e-06 instead of 9.999999974752427e-07.
Json shortest(const Json& value) {
  if (!value.is_number_float()) return value;
  char text[64];
  const float f = value.get<float>();
  const auto end = std::to_chars(text, text + sizeof text, f).ptr;
  double d = value.get<double>();
  std::from_chars(text, end, d);
  return d;
}

// The first of "a|b".
std::string first_of(std::string_view key) { return std::string(key.substr(0, key.find('|'))); }

class Reader {
 public:
  Reader(const std::string& file, const Json& metadata, const GgufFamily& family)
      : file_(file), metadata_(metadata), prefix_(std::string(family.name) + ".") {}

  const Json* find(const std::string& key) const {
    const auto it = metadata_.find(key);
    return it == metadata_.end() ? nullptr : &*it;
  }
  // A number under the family's prefix; null Json: absent.
  Result<Json> number(std::string_view key, bool required) const {
    const std::string name = prefix_ + std::string(key);
    const Json* value = find(name);
    if (!value && required) return error(Code::kBadFile, "%s: key '%s' is missing", file_.c_str(), name.c_str());
    if (!value) return Json();
    if (!value->is_number() || (value->is_number_float() && !std::isfinite(value->get<double>())))
      return error(value->is_array() ? Code::kUnsupported : Code::kBadFile, "%s: key '%s' is %s, expected one number",
                   file_.c_str(), name.c_str(), value->is_number() ? "not finite" : value->type_name());
    return shortest(*value);
  }
  Result<std::string> text(std::string_view key) const {
    const Json* value = find(prefix_ + std::string(key));
    if (!value) return std::string();
    if (!value->is_string())
      return error(Code::kBadFile, "%s: key '%s%s' is %s, expected text", file_.c_str(), prefix_.c_str(),
                   std::string(key).c_str(), value->type_name());
    return value->get<std::string>();
  }

 private:
  const std::string& file_;
  const Json& metadata_;
  const std::string prefix_;
};

Result<Json> read_rope(const std::string& file, const Reader& reader, const GgufFacts& facts) {
  Json scaling;
  QZ_ASSIGN(const std::string type, reader.text("rope.scaling.type"));
  QZ_ASSIGN(const Json factor, reader.number("rope.scaling.factor", false));
  QZ_ASSIGN(const Json original, reader.number("rope.scaling.original_context_length", false));
  if (!facts.rope_freqs.empty()) {  // Llama 3's scaling as numbers: longrope with one table for all lengths
    scaling = {{"rope_type", "longrope"},
               {"short_factor", facts.rope_freqs},
               {"long_factor", facts.rope_freqs},
               {"attention_factor", 1.0}};
    QZ_ASSIGN(const Json length, reader.number("context_length", true));
    scaling["original_max_position_embeddings"] = length;
  } else if (type == "linear" || type == "yarn") {
    if (factor.is_null()) return error(Code::kBadFile, "%s: rope scaling %s has no factor", file.c_str(), type.c_str());
    scaling = {{"rope_type", type}, {"factor", factor}};
    if (!original.is_null()) scaling["original_max_position_embeddings"] = original;
  } else if (!type.empty() && type != "none") {
    return error(Code::kUnsupported, "%s: rope scaling '%.60s', none, linear and yarn are read", file.c_str(),
                 type.c_str());
  }
  return scaling;
}

}  // namespace

Result<Json> config_from_gguf(const std::string& file, const Json& metadata, const GgufFamily& family,
                              const ArchDesc& desc, const GgufFacts& facts) {
  const Reader reader(file, metadata, family);
  Json config = Json::parse(family.config);
  config["architectures"] = {std::string(family.hf_class)};
  config["model_type"] = std::string(desc.model_type);
  config["torch_dtype"] = facts.dtype == DType::kBF16 ? "bfloat16" : facts.dtype == DType::kF32 ? "float32" : "float16";
  config["vocab_size"] = facts.vocab;
  config["tie_word_embeddings"] = facts.tied;
  config["hidden_act"] = std::string(desc.default_activation);
  for (const Key& key : kKeys) {
    if ((desc.keys.*key.hf).empty()) continue;
    const bool own_width = key.hf == &ConfigKeys::intermediate && family.experts;
    QZ_ASSIGN(Json value, reader.number(key.gguf, key.required && !own_width));
    if (value.is_null()) continue;
    const std::string name = first_of(desc.keys.*key.hf);
    if (key.hf == &ConfigKeys::window && !desc.keys.use_window.empty()) config[first_of(desc.keys.use_window)] = true;
    if (!config.contains(name) || config[name].is_null()) config[name] = std::move(value);
  }
  // What the family means by silence in config.json is not what a file of llama.cpp means.
  const Json defaults = Json::parse(desc.defaults.text);
  for (const auto& [name, value] : defaults.items())
    if (!config.contains(name)) config[name] = nullptr;
  // Experts may have a width of their own; the plain one is not there then.
  if (const std::string name = first_of(desc.keys.intermediate); family.experts && !config.contains(name))
    config[name] = config[first_of(desc.keys.hidden)];
  if (const Json* id = reader.find("tokenizer.ggml.bos_token_id"); id && id->is_number_unsigned())
    config["bos_token_id"] = *id;
  if (const Json* id = reader.find("tokenizer.ggml.eos_token_id"); id && id->is_number_unsigned())
    config["eos_token_id"] = *id;
  QZ_ASSIGN(const Json turned, reader.number("rope.dimension_count", false));
  QZ_ASSIGN(const Json key_length, reader.number("attention.key_length", false));
  const Json heads = config[first_of(desc.keys.heads)], hidden = config[first_of(desc.keys.hidden)];
  const double width = !key_length.is_null()     ? key_length.get<double>()
                       : heads.get<double>() > 0 ? hidden.get<double>() / heads.get<double>()
                                                 : 0;
  if (!turned.is_null() && width > 0 && turned.get<double>() != width)
    config[first_of(desc.keys.rope_partial)] = turned.get<double>() / width;
  QZ_ASSIGN(Json scaling, read_rope(file, reader, facts));
  if (!scaling.is_null()) config["rope_scaling"] = std::move(scaling);
  return config;
}

}  // namespace qz
