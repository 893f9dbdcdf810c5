#include "estimate/towers.h"

#include "base/json.h"

namespace qz {
namespace {

constexpr int64_t kMost = int64_t{1} << 20;  // of any width: products of three stay within 64 bits

// A positive integer, or the first of a list of them; -1 otherwise.
int64_t integer(const Json& object, const char* key) {
  auto it = object.find(key);
  if (it == object.end()) return -1;
  const Json& value = it->is_array() && !it->empty() ? it->front() : *it;
  return value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(kMost) ? value.get<int64_t>()
                                                                                             : -1;
}

bool flag(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

// InternViT and InternVL's two-layer projector after pixel shuffle (OpenGVLab/InternVL, modeling_intern_vit.py;
// transformers, modeling_internvl.py).
int64_t internvl(const Json& config, const Json& v, int64_t text_hidden) {
  const int64_t h = integer(v, "hidden_size"), f = integer(v, "intermediate_size");
  const int64_t layers = integer(v, "num_hidden_layers");
  const int64_t image = integer(v, "image_size"), patch = integer(v, "patch_size");
  if (h < 1 || f < 1 || layers < 1 || image < 1 || patch < 1 || text_hidden < 1) return -1;
  const int64_t channels = integer(v, "num_channels") < 1 ? 3 : integer(v, "num_channels");
  const int64_t side = image / patch, positions = side * side + 1;
  const bool bias = flag(v, "attention_bias") || flag(v, "qkv_bias");
  const int64_t layer = 4 * h * h + (bias ? 3 * h : 0) + h + 2 * h * f + f + h + 4 * h + 2 * h;
  const int64_t embeddings = channels * patch * patch * h + h + h + positions * h;
  const auto ratio = config.find("downsample_ratio");
  const double shrink = ratio != config.end() && ratio->is_number() ? ratio->get<double>() : 0.5;
  if (!(shrink > 0 && shrink <= 1)) return -1;
  const auto shuffled = static_cast<int64_t>(static_cast<double>(h) / (shrink * shrink));
  const int64_t projector =
      2 * shuffled + shuffled * text_hidden + text_hidden + text_hidden * text_hidden + text_hidden;
  return layers * layer + embeddings + projector;
}

}  // namespace

int64_t tower_parameters(const Json& config, int64_t text_hidden) {
  const auto vision = config.find("vision_config");
  if (vision == config.end() || !vision->is_object()) return 0;
  const auto type = vision->find("model_type");
  if (type == vision->end() || (*type != "internvl_vision" && *type != "intern_vit_6b")) return -1;
  return internvl(config, *vision, text_hidden);
}

}  // namespace qz
