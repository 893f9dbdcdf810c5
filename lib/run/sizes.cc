#include "run/sizes.h"

#include <algorithm>

#include "base/checked.h"

namespace qz {
namespace {

constexpr int64_t kHeldTokens = 1024, kHeldShare = 16;  // at most one sequence in so many is held out
constexpr int64_t kMaxChain = 1024, kMinChain = 64;
constexpr uint64_t kMetricBytes = 256u << 20;      // of all output metrics together
constexpr int64_t kMetricTokens = 256;             // of one measured sequence, unless all of them may be longer
constexpr int64_t kMetricActivations = 768 << 20;  // bytes of activations while the metric is measured
constexpr uint64_t kKeptInputs = 1u << 30;         // bytes of the second MLP layer's inputs

}  // namespace

int64_t held_sequences(int64_t count, int64_t mean) {
  if (count < 4) return 0;
  const int64_t most = std::max<int64_t>(1, count / kHeldShare), least = std::min<int64_t>(2, most);
  return std::clamp(ceil_div(kHeldTokens, mean), least, most);
}

int64_t held_every(int64_t held_tokens) { return std::max<int64_t>(1, ceil_div(held_tokens, kHeldTokens)); }

MetricSize metric_size(const ModelConfig& config, int64_t available, int64_t wanted) {
  const int64_t token_bytes = 4 * ((config.layers + 12) * config.hidden + 6 * config.intermediate);
  const int64_t tokens = std::max(kMetricTokens, kMetricActivations / token_bytes);
  const int64_t length = std::clamp(tokens / wanted, std::min(kMetricTokens, config.max_seq), config.max_seq);
  return {std::min({available, wanted, std::max<int64_t>(1, tokens / length)}), length};
}

int64_t chain_rows(const Model& model) {
  int64_t rows = 0, chain = kMaxChain;
  for (const Module& m : model.modules()) rows += m.layer >= 0 && m.expert < 0 ? m.rows : 0;
  while (chain > kMinChain && static_cast<uint64_t>(rows * chain) * sizeof(float) > kMetricBytes) chain /= 2;
  return chain;
}

bool keeps_mlp_inputs(int64_t tokens, int64_t intermediate, int64_t streams) {
  return static_cast<uint64_t>(tokens * intermediate * streams) * sizeof(float) <= kKeptInputs;
}

}  // namespace qz
