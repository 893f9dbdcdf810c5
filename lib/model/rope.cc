#include "model/rope.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "model/block.h"

namespace qz {

double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

int64_t rotary_dim(const ModelConfig& config) {
  if (config.latent.kv_rank > 0) return config.latent.rope;
  return static_cast<int64_t>(static_cast<double>(config.head_dim) * config.rope.partial);
}

namespace {

// One list of LongRoPE's: as many factors as pairs; make_rope_table indexes it.
std::vector<float> read_factors(ConfigReader* reader, const char* key, int64_t pairs) {
  const Json* list = reader->find(key);
  if (list == nullptr || !list->is_array() || static_cast<int64_t>(list->size()) != pairs) {
    reader->fail(Code::kBadFile, std::string(key) + " must be a list of " + std::to_string(pairs) + " numbers, found " +
                                     (list == nullptr    ? "nothing"
                                      : list->is_array() ? std::to_string(list->size())
                                                         : describe_json(*list)));
    return {};
  }
  std::vector<float> factors;
  for (const Json& value : *list) {
    const double v = value.is_number() ? value.get<double>() : 0;
    if (!(v >= 1e-6 && v <= 1e9)) {
      reader->fail(Code::kBadFile,
                   std::string(key) + " must hold numbers from 1e-06 to 1e+09, found " + describe_json(value));
      return {};
    }
    factors.push_back(static_cast<float>(v));
  }
  return factors;
}

// What both styles share: `inner` holds the kind and its numbers; rope->theta and partial have been set to what holds
// where it is silent.
void read_kind(ConfigReader* inner, double original_max_seq, int64_t head_dim, double max_seq, RopeConfig* out) {
  RopeConfig& rope = *out;
  rope.theta = inner->number_or("rope_theta", rope.theta, 2, 1e30);
  rope.partial = inner->number_or("partial_rotary_factor", rope.partial, 0, 1);
  const std::string kind = inner->text_or(inner->find("rope_type") != nullptr ? "rope_type" : "type", "default");
  if (kind == "default" || kind == "mrope") {  // Qwen2-VL's three axes are one for text
    rope.kind = RopeKind::kDefault;
  } else if (kind == "linear") {
    rope.kind = RopeKind::kLinear;
    rope.factor = inner->number("factor", 1e-6, 1e6);
  } else if (kind == "dynamic") {
    rope.kind = RopeKind::kDynamic;
    rope.factor = inner->number("factor", 1, 1e6);
    rope.original_max_seq = max_seq;  // transformers scales against max_position_embeddings here
  } else if (kind == "llama3") {
    rope.kind = RopeKind::kLlama3;
    rope.factor = inner->number("factor", 1e-6, 1e6);
    rope.low_freq_factor = inner->number("low_freq_factor", 1e-6, 1e6);
    rope.high_freq_factor = inner->number("high_freq_factor", 1e-6, 1e6);
    rope.original_max_seq = inner->number_or("original_max_position_embeddings", original_max_seq, 1, 1e9);
    if (rope.high_freq_factor <= rope.low_freq_factor && rope.high_freq_factor > 1e-6) {
      inner->fail(Code::kBadFile, "high_freq_factor must be greater than low_freq_factor");
    }
  } else if (kind == "yarn") {
    rope.kind = RopeKind::kYarn;
    rope.original_max_seq = inner->number_or("original_max_position_embeddings", original_max_seq, 1, 1e9);
    rope.factor = inner->number_or("factor", max_seq / rope.original_max_seq, 1e-6, 1e6);
    rope.attention_factor = inner->number_or("attention_factor", 0, 0, 1e6);
    rope.mscale = inner->number_or("mscale", 0, 0, 1e6);
    rope.mscale_all_dim = inner->number_or("mscale_all_dim", 0, 0, 1e6);
    rope.beta_fast = inner->number_or("beta_fast", 32, 0, 1e6);
    rope.beta_slow = inner->number_or("beta_slow", 1, 0, 1e6);
    rope.truncate = inner->boolean_or("truncate", true);
    if (rope.beta_fast == 0) rope.beta_fast = 32;  // transformers reads 0 as "not given"
    if (rope.beta_slow == 0) rope.beta_slow = 1;
  } else if (kind == "longrope" || kind == "su") {  // "su" is what the first Phi-3 files said
    rope.kind = RopeKind::kLongRope;
    rope.original_max_seq = inner->number_or("original_max_position_embeddings", original_max_seq, 1, 1e9);
    rope.factor = inner->number_or("factor", max_seq / rope.original_max_seq, 1e-6, 1e6);
    rope.attention_factor = inner->number_or("attention_factor", 0, 0, 1e6);
    const auto pairs = static_cast<int64_t>(static_cast<double>(head_dim) * rope.partial) / 2;
    rope.short_factors = read_factors(inner, "short_factor", pairs);
    rope.long_factors = read_factors(inner, "long_factor", pairs);
  } else {
    inner->fail(Code::kUnsupported, "rope_type \"" + kind.substr(0, 60) +
                                        "\" is not known: default, linear, dynamic, llama3, yarn, longrope are");
  }
}

}  // namespace

void read_rope(const Context& context, ConfigReader* reader, const ArchDesc& desc, const std::string& file,
               ModelConfig* config) {
  const char* name = reader->find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  const Json* object = reader->find(name);
  if (object != nullptr && !object->is_object()) {
    return reader->fail(Code::kBadFile, std::string(name) + " must be an object, found " + describe_json(*object));
  }
  const auto max_seq = static_cast<double>(config->max_seq);
  const double original = reader->number_or("original_max_position_embeddings", max_seq, 1, 1e9);
  const int64_t head_dim = config->head_dim > 0 ? config->head_dim : config->hidden / config->heads;
  RopeConfig& rope = config->rope;
  rope.theta = reader->number_or(desc.keys.rope_theta, desc.default_theta, 2, 1e30);
  rope.partial = reader->number_or(desc.keys.rope_partial, desc.default_rope_partial, 0, 1);
  config->local_rope = rope;
  const auto read = [&](const std::string& where, const Json* json, RopeConfig* out) {
    const Json empty = Json::object();
    ConfigReader inner(context, json != nullptr ? *json : empty, file + ": " + where);
    if (json != nullptr && !json->is_object()) {
      inner.fail(Code::kBadFile, "must be an object, found " + describe_json(*json));
    } else {
      read_kind(&inner, original, head_dim, max_seq, out);
    }
    if (Status status = inner.finish(); !status.ok()) reader->adopt(std::move(status));
  };
  const bool by_layer = object != nullptr && object->contains("full_attention");
  read(by_layer ? std::string(name) + ": full_attention" : name, by_layer ? &(*object)["full_attention"] : object,
       &rope);
  if (desc.default_local_theta == 0) return;
  config->local_rope.theta = reader->number_or(desc.keys.local_theta, desc.default_local_theta, 2, 1e30);
  if (by_layer && object->contains("sliding_attention")) {
    read(std::string(name) + ": sliding_attention", &(*object)["sliding_attention"], &config->local_rope);
  }
}

namespace {

using Frequencies = std::vector<float>;  // one a pair of dimensions, radians a position

// 1 / base^(2i/dim). transformers computes frequencies in float32; so do we, because position 10,000 shows the
// difference.
Frequencies plain_frequencies(double base, int64_t dim) {
  Frequencies f(static_cast<size_t>(dim / 2));
  for (size_t i = 0; i < f.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    f[i] = 1.0f / static_cast<float>(std::pow(base, static_cast<double>(exponent)));
  }
  return f;
}

// NTK-aware scaling of the base by the length at hand; lengths up to the original change nothing.
Frequencies dynamic_frequencies(const RopeConfig& rope, int64_t dim, int64_t seq_len) {
  const double ratio = std::max(1.0, static_cast<double>(seq_len) / rope.original_max_seq);
  const auto d = static_cast<double>(dim);
  const double grow = rope.factor * ratio - (rope.factor - 1);
  return plain_frequencies(dim > 2 ? rope.theta * std::pow(grow, d / (d - 2)) : rope.theta, dim);
}

// Llama 3.1: long wavelengths are divided by the factor, short ones kept, those between interpolated.
Frequencies llama3_frequencies(const RopeConfig& rope, int64_t dim) {
  Frequencies f = plain_frequencies(rope.theta, dim);
  const double low_wavelength = rope.original_max_seq / rope.low_freq_factor;
  const double high_wavelength = rope.original_max_seq / rope.high_freq_factor;
  for (float& frequency : f) {
    const float wavelength = static_cast<float>(2 * M_PI) / frequency;
    if (wavelength < high_wavelength) continue;
    if (wavelength > low_wavelength) {
      frequency = frequency / static_cast<float>(rope.factor);
      continue;
    }
    const double smooth = (rope.original_max_seq / static_cast<double>(wavelength) - rope.low_freq_factor) /
                          (rope.high_freq_factor - rope.low_freq_factor);
    const auto full = static_cast<double>(frequency);
    frequency = static_cast<float>((1 - smooth) * full / rope.factor + smooth * full);
  }
  return f;
}

// YaRN (arXiv 2309.00071, section 3.2): dimensions that turn more than beta_fast times over the original length are
// kept, those that turn less than beta_slow times are divided by the factor, with a ramp between.
Frequencies yarn_frequencies(const RopeConfig& rope, int64_t dim) {
  Frequencies f = plain_frequencies(rope.theta, dim);
  const auto d = static_cast<double>(dim);
  const auto dimension_of = [&](double rotations) {
    return d * std::log(rope.original_max_seq / (rotations * 2 * M_PI)) / (2 * std::log(rope.theta));
  };
  double low = dimension_of(rope.beta_fast), high = dimension_of(rope.beta_slow);
  if (rope.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, d - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < f.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const auto full = static_cast<double>(f[i]);
    f[i] = static_cast<float>(full / rope.factor * ramp + full * (1 - ramp));
  }
  return f;
}

// LongRoPE (arXiv 2402.13753): every pair has a factor of its own, one set up to the original length, one beyond it.
Frequencies long_frequencies(const RopeConfig& rope, int64_t dim, int64_t seq_len) {
  Frequencies f = plain_frequencies(rope.theta, dim);
  const std::vector<float>& factors =
      static_cast<double>(seq_len) > rope.original_max_seq ? rope.long_factors : rope.short_factors;
  for (size_t i = 0; i < f.size() && i < factors.size(); ++i) f[i] /= factors[i];
  return f;
}

// What transformers multiplies cos and sin by.
double long_attention_factor(const RopeConfig& rope) {
  if (rope.attention_factor > 0) return rope.attention_factor;
  return rope.factor <= 1 ? 1 : std::sqrt(1 + std::log(rope.factor) / std::log(rope.original_max_seq));
}

// YaRN's correction of the attention temperature, put on cos and sin; DeepSeek's mscale pair replaces the paper's
// formula.
double yarn_attention_factor(const RopeConfig& rope) {
  if (rope.attention_factor > 0) return rope.attention_factor;
  const auto scale = [&](double m) { return yarn_mscale(rope.factor, m); };
  if (rope.mscale > 0 && rope.mscale_all_dim > 0) return scale(rope.mscale) / scale(rope.mscale_all_dim);
  return scale(1);
}

}  // namespace

namespace {

Angles make_angles(const RopeConfig& rope, int64_t dim, int64_t positions) {
  Frequencies f;
  double amplitude = 1;
  switch (rope.kind) {
    case RopeKind::kDefault:
      f = plain_frequencies(rope.theta, dim);
      break;
    case RopeKind::kLinear:
      f = plain_frequencies(rope.theta, dim);
      for (float& frequency : f) frequency /= static_cast<float>(rope.factor);
      break;
    case RopeKind::kDynamic:
      f = dynamic_frequencies(rope, dim, positions);
      break;
    case RopeKind::kLlama3:
      f = llama3_frequencies(rope, dim);
      break;
    case RopeKind::kYarn:
      f = yarn_frequencies(rope, dim);
      amplitude = yarn_attention_factor(rope);
      break;
    case RopeKind::kLongRope:
      f = long_frequencies(rope, dim, positions);
      amplitude = long_attention_factor(rope);
      break;
  }
  Angles angles;
  const auto size = static_cast<size_t>(positions) * f.size();
  angles.cos.resize(size), angles.sin.resize(size);
  for (size_t p = 0, at = 0; p < static_cast<size_t>(positions); ++p) {
    for (size_t i = 0; i < f.size(); ++i, ++at) {
      const float angle = static_cast<float>(p) * f[i];
      angles.cos[at] = static_cast<float>(std::cos(static_cast<double>(angle)) * amplitude);
      angles.sin[at] = static_cast<float>(std::sin(static_cast<double>(angle)) * amplitude);
    }
  }
  return angles;
}

}  // namespace

RopeTable make_rope_table(const ModelConfig& config, int64_t positions) {
  RopeTable table;
  if (config.position != PositionKind::kRope) return table;
  const int64_t dim = rotary_dim(config);
  table.half = dim / 2;
  table.positions = positions;
  table.global = make_angles(config.rope, dim, positions);
  const bool local = std::any_of(config.rope_local.begin(), config.rope_local.end(), [](uint8_t l) { return l != 0; });
  if (local) table.local = make_angles(config.local_rope, dim, positions);
  return table;
}

}  // namespace qz
