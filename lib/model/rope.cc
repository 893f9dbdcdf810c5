#include "model/rope.h"

#include <algorithm>
#include <cmath>

#include "model/block.h"

namespace qz {

int64_t rotary_dim(const ModelConfig& config) {
  return static_cast<int64_t>(static_cast<double>(config.head_dim) * config.rope.partial);
}

void read_rope(const Context& context, ConfigReader* reader, const std::string& file, ModelConfig* config) {
  RopeConfig& rope = config->rope;
  const char* name = reader->find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  const Json* object = reader->find(name);
  if (object != nullptr && !object->is_object()) {
    return reader->fail(Code::kBadFile, std::string(name) + " must be an object, found " + describe_json(*object));
  }
  const double top_theta = reader->number_or("rope_theta", 10000, 2, 1e30);
  const double top_partial = reader->number_or("partial_rotary_factor", 1, 0, 1);
  const Json empty = Json::object();
  ConfigReader inner(context, object != nullptr ? *object : empty, file + ": " + name);
  rope.theta = inner.number_or("rope_theta", top_theta, 2, 1e30);
  rope.partial = inner.number_or("partial_rotary_factor", top_partial, 0, 1);
  const std::string kind = inner.text_or(inner.find("rope_type") != nullptr ? "rope_type" : "type", "default");
  const auto max_seq = static_cast<double>(config->max_seq);
  const double top_original = reader->number_or("original_max_position_embeddings", max_seq, 1, 1e9);
  if (kind == "default") {
    rope.kind = RopeKind::kDefault;
  } else if (kind == "linear") {
    rope.kind = RopeKind::kLinear;
    rope.factor = inner.number("factor", 1e-6, 1e6);
  } else if (kind == "dynamic") {
    rope.kind = RopeKind::kDynamic;
    rope.factor = inner.number("factor", 1, 1e6);
    rope.original_max_seq = max_seq;  // transformers scales against max_position_embeddings here
  } else if (kind == "llama3") {
    rope.kind = RopeKind::kLlama3;
    rope.factor = inner.number("factor", 1e-6, 1e6);
    rope.low_freq_factor = inner.number("low_freq_factor", 1e-6, 1e6);
    rope.high_freq_factor = inner.number("high_freq_factor", 1e-6, 1e6);
    rope.original_max_seq = inner.number_or("original_max_position_embeddings", top_original, 1, 1e9);
    if (rope.high_freq_factor <= rope.low_freq_factor && rope.high_freq_factor > 1e-6) {
      inner.fail(Code::kBadFile, "high_freq_factor must be greater than low_freq_factor");
    }
  } else if (kind == "yarn") {
    rope.kind = RopeKind::kYarn;
    rope.original_max_seq = inner.number_or("original_max_position_embeddings", top_original, 1, 1e9);
    rope.factor = inner.number_or("factor", max_seq / rope.original_max_seq, 1e-6, 1e6);
    rope.attention_factor = inner.number_or("attention_factor", 0, 0, 1e6);
    rope.mscale = inner.number_or("mscale", 0, 0, 1e6);
    rope.mscale_all_dim = inner.number_or("mscale_all_dim", 0, 0, 1e6);
    rope.beta_fast = inner.number_or("beta_fast", 32, 0, 1e6);
    rope.beta_slow = inner.number_or("beta_slow", 1, 0, 1e6);
    rope.truncate = inner.boolean_or("truncate", true);
    if (rope.beta_fast == 0) rope.beta_fast = 32;  // transformers reads 0 as "not given"
    if (rope.beta_slow == 0) rope.beta_slow = 1;
  } else {
    inner.fail(Code::kUnsupported,
               "rope_type \"" + kind.substr(0, 60) + "\" is not known: default, linear, dynamic, llama3, yarn are");
  }
  if (Status status = inner.finish(); !status.ok()) reader->adopt(std::move(status));
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

// YaRN's correction of the attention temperature, put on cos and sin; DeepSeek's mscale pair replaces the paper's
// formula.
double yarn_attention_factor(const RopeConfig& rope) {
  if (rope.attention_factor > 0) return rope.attention_factor;
  const auto scale = [&](double m) { return rope.factor <= 1 ? 1.0 : 0.1 * m * std::log(rope.factor) + 1.0; };
  if (rope.mscale > 0 && rope.mscale_all_dim > 0) return scale(rope.mscale) / scale(rope.mscale_all_dim);
  return scale(1);
}

}  // namespace

RopeTable make_rope_table(const ModelConfig& config, int64_t positions) {
  const RopeConfig& rope = config.rope;
  const int64_t dim = rotary_dim(config);
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
  }
  RopeTable table;
  table.half = dim / 2;
  table.positions = positions;
  const auto size = static_cast<size_t>(positions * table.half);
  table.cos.resize(size), table.sin.resize(size);
  for (size_t p = 0, at = 0; p < static_cast<size_t>(positions); ++p) {
    for (size_t i = 0; i < f.size(); ++i, ++at) {
      const float angle = static_cast<float>(p) * f[i];
      table.cos[at] = static_cast<float>(std::cos(static_cast<double>(angle)) * amplitude);
      table.sin[at] = static_cast<float>(std::sin(static_cast<double>(angle)) * amplitude);
    }
  }
  return table;
}

}  // namespace qz
