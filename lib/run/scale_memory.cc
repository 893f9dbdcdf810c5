#include "run/scale_memory.h"

#include <algorithm>

#include "model/scratch.h"
#include "run/places.h"
#include "run/sizes.h"
#include "run/solve_memory.h"

namespace qz {
namespace {

constexpr const char* kPassing = "inputs of some sequences";
constexpr const char* kSample = "sample of the inputs, and what comes of it";
constexpr const char* kLayers = "layers of one place, float32";

std::vector<FoldPlace> open_places(const Model& model, const std::vector<ModulePlan>& plans, int64_t layer) {
  std::vector<FoldPlace> places = fold_places(model, plans, layer);
  std::erase_if(places, [](const FoldPlace& p) { return !p.obstacle.empty(); });
  return places;
}

void add_rescaled(const FoldPlace& place, std::set<size_t>* modules) {
  modules->insert(place.readers.begin(), place.readers.end());
  if (place.norm.empty()) modules->insert(place.source);
}

struct Widths {
  int64_t mixed = 0, inner = 0;
};

Widths widths_of(const Model& model, int64_t layer) {
  Widths w;
  const auto [first, end] = model.block_modules(layer);
  for (size_t i = first; i < end; i++) {
    const Module& m = model.modules()[i];
    if (m.role == Role::kO) w.mixed = m.cols;
    if (m.role == Role::kDown && m.expert < 0) w.inner = m.cols;
  }
  return w;
}

}  // namespace

std::set<size_t> rescaled_modules(const Model& model, const std::vector<ModulePlan>& plans, int64_t layer) {
  std::set<size_t> modules;
  for (const FoldPlace& place : open_places(model, plans, layer)) add_rescaled(place, &modules);
  return modules;
}

int64_t projection_width(const Model& model, int64_t layer) {
  const ModelConfig& config = model.config();
  int64_t width = (config.heads + config.kv_heads) * config.head_dim + config.kv_heads * config.value_dim;
  const auto [first, end] = model.block_modules(layer);
  for (size_t i = first; i < end; i++) {
    const Module& m = model.modules()[i];
    if (m.role == Role::kKvA) width += m.rows + config.latent.kv_rank;
    if (m.role == Role::kKvB) width += m.rows;
  }
  return width;
}

std::vector<Moment> scale_moments(const Moment& base, const Model& model, const std::vector<ModulePlan>& plans,
                                  int64_t layer, const ScaleSize& size) {
  const std::vector<FoldPlace> places = open_places(model, plans, layer);
  std::vector<Moment> out;
  if (places.empty()) return out;
  const ModelConfig& config = model.config();
  const Widths widths = widths_of(model, layer);
  const int64_t piece = std::min(size.length, kSampleLength);
  const int64_t pieces = std::clamp<int64_t>(kSampleTokens / piece, 1, size.sequences), sample = pieces * piece;
  std::set<size_t> rescaled;
  const auto start = [&](std::string name) {
    Moment m = base;
    m.name = std::move(name);
    const auto [first, end] = model.block_modules(layer);
    for (size_t i = first; i < end; i++) {
      const Module& module = model.modules()[i];
      if (module.expert >= 0) continue;
      m.add("one block", rescaled.count(i) > 0 ? floats(module.rows, module.cols) : dense_bytes(config, module));
    }
    for (const FoldPlace& place : places) m.add(kSample, floats(sample, model.modules()[place.readers[0]].cols));
    return m;
  };
  // What `tokens` take on their way through attention, or through the MLP, beside what they were.
  const auto mixing = [&](int64_t tokens) {
    return floats(tokens, widths.mixed) + floats(std::min(tokens, kScratchRows), projection_width(model, layer));
  };
  const auto feeding = [&](int64_t tokens) { return floats(tokens, 2 * widths.inner); };

  Moment passing = start("running tokens through a block for its scales");
  passing.add(kPassing, floats(size.chunk, 2 * config.hidden) + std::max(mixing(size.chunk), feeding(size.chunk)));
  out.push_back(std::move(passing));
  for (const FoldPlace& place : places) {
    Moment m = start("searching scales");
    Count largest;
    for (const size_t i : place.readers) {
      const Module& module = model.modules()[i];
      const Count weight = floats(module.rows, module.cols);
      m.add(kLayers, weight);
      m.add("one block", dense_bytes(config, module));  // put aside while their codes are tried
      m.add("codes", matrix_bytes(module, plans[i].scheme));
      largest = std::max(largest, weight);
    }
    const int64_t cols = model.modules()[place.readers[0]].cols;
    const bool attends = place.input == Input::kAttention, feeds = place.input == Input::kMlp;
    const bool rounds = plans[place.readers[0]].scheme.activations != Activations::kNone;
    if (rounds) m.add(kSample, floats(sample, cols));  // the inputs of 8 bits
    // What the place gives, for the weights as they are and for their codes; the inputs divided by the scales.
    m.add(kSample, floats(sample, 2 * config.hidden + cols));
    if (attends) m.add(kSample, mixing(sample));
    if (feeds || (attends && config.parallel && model.arch().mlp_norm.empty())) m.add(kSample, feeding(sample));
    m.add(kLayers, largest);
    out.push_back(std::move(m));
    add_rescaled(place, &rescaled);
  }
  return out;
}

}  // namespace qz
