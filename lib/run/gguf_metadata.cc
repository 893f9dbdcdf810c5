// Keys: ggml's docs/gguf.md; what each family needs: llama.cpp's llama-model.cpp, load_hparams.
#include "run/gguf_metadata.h"

#include <cmath>
#include <numbers>

#include "model/rope.h"

namespace qz {
namespace {

uint32_t u32(int64_t v) { return static_cast<uint32_t>(v); }

std::string base_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

}  // namespace

std::vector<float> rope_factors(const ModelConfig& c) {
  std::vector<float> factors;
  const RopeConfig& r = c.rope;
  if (r.kind != RopeKind::kLlama3 && r.kind != RopeKind::kLongRope) return factors;
  const int64_t pairs = rotary_dim(c) / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    if (r.kind == RopeKind::kLongRope) {
      factors.push_back(static_cast<float>(r.long_factors[static_cast<size_t>(i)]));
      continue;
    }
    const double frequency = std::pow(r.theta, -2.0 * static_cast<double>(i) / static_cast<double>(2 * pairs));
    const double length = 2 * std::numbers::pi / frequency;
    const double low = r.original_max_seq / r.low_freq_factor, high = r.original_max_seq / r.high_freq_factor;
    double factor = 1;
    if (length > low) {
      factor = r.factor;
    } else if (length >= high) {
      const double smooth =
          (r.original_max_seq / length - r.low_freq_factor) / (r.high_freq_factor - r.low_freq_factor);
      factor = 1 / ((1 - smooth) / r.factor + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

Status add_metadata(const Model& model, const GgufFamily& family, uint32_t file_type, GgufBuilder* out) {
  const ModelConfig& c = model.config();
  const RopeConfig& r = c.rope;
  const std::string p = std::string(family.name) + ".";
  // One table of factors for all lengths is all that rope_freqs.weight can say.
  const bool table = r.kind == RopeKind::kLlama3 ||
                     (r.kind == RopeKind::kLongRope && r.short_factors == r.long_factors && r.attention_factor == 1);
  if (r.kind != RopeKind::kDefault && r.kind != RopeKind::kLinear && r.kind != RopeKind::kYarn && !table)
    return error(Code::kUnsupported,
                 "gguf: this model's rope scaling is not one that is written (linear, yarn, llama3)");
  out->add("general.architecture", family.name);
  out->add("general.type", std::string_view("model"));
  out->add("general.name", std::string_view(base_name(model.checkpoint()->dir())));
  out->add("general.file_type", file_type);
  out->add("general.quantization_version", uint32_t{2});
  out->add(p + "block_count", u32(c.layers));
  out->add(p + "context_length", u32(c.max_seq));
  out->add(p + "embedding_length", u32(c.hidden));
  out->add(p + "feed_forward_length", u32(c.intermediate));
  out->add(p + "vocab_size", u32(c.vocab));
  out->add(p + "attention.head_count", u32(c.heads));
  out->add(p + "attention.head_count_kv", u32(c.kv_heads));
  out->add(p + "attention.key_length", u32(c.head_dim));
  out->add(p + "attention.value_length", u32(c.value_dim));
  out->add(
      p + (model.arch().norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon"),
      static_cast<float>(c.norm_eps));
  out->add(p + "rope.dimension_count", u32(rotary_dim(c)));
  out->add(p + "rope.freq_base", static_cast<float>(r.theta));
  if (r.kind == RopeKind::kLinear || r.kind == RopeKind::kYarn) {
    out->add(p + "rope.scaling.type", std::string_view(r.kind == RopeKind::kLinear ? "linear" : "yarn"));
    out->add(p + "rope.scaling.factor", static_cast<float>(r.factor));
    if (r.original_max_seq > 0)
      out->add(p + "rope.scaling.original_context_length", u32(std::llround(r.original_max_seq)));
  }
  int64_t window = 0;
  for (const int64_t w : c.window) window = std::max(window, w);
  if (window > 0) {
    out->add(p + "attention.sliding_window", u32(window));
    if (family.name != "phi3" && window < c.max_seq)
      model.context().log(LogLevel::kWarn, "gguf: llama.cpp attends to all tokens, this model to the last %lld",
                          static_cast<long long>(window));
  }
  if (c.moe.experts > 0) {
    out->add(p + "expert_count", u32(c.moe.experts));
    out->add(p + "expert_used_count", u32(c.moe.per_token));
    if (family.name != "llama") out->add(p + "expert_feed_forward_length", u32(c.moe.width));
    if (c.moe.shared_width > 0) out->add(p + "expert_shared_feed_forward_length", u32(c.moe.shared_width));
  }
  return {};
}

}  // namespace qz
