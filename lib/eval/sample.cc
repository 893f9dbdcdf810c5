// From logits to a token.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "eval/generate.h"
#include "kernels/ops.h"

namespace qz {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

// Once a distinct token, whatever its sign: a penalty above 1 makes it less likely.
void penalize(float* logits, int64_t vocab, double penalty, std::vector<int32_t> seen) {
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  const auto p = static_cast<float>(penalty);
  for (int32_t id : seen) {
    if (id < 0 || id >= vocab) continue;
    logits[id] = logits[id] < 0 ? logits[id] * p : logits[id] / p;
  }
}

// Everything below the k-th largest goes; ties with it stay.
void keep_top_k(float* logits, int64_t vocab, int32_t k) {
  if (k <= 0 || k >= vocab) return;
  std::vector<float> sorted(logits, logits + vocab);
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<float>());
  const float least = sorted[static_cast<size_t>(k - 1)];
  for (int64_t v = 0; v < vocab; ++v) {
    if (logits[v] < least) logits[v] = kRemoved;
  }
}

// The least likely tokens whose probabilities together are at most 1 - p go; the most likely one stays.
void keep_top_p(float* logits, int64_t vocab, double p) {
  if (p >= 1) return;
  const double total = log_sum_exp(logits, vocab);
  std::vector<int32_t> order(static_cast<size_t>(vocab));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] < logits[b]; });
  double sum = 0;
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    sum += std::exp(static_cast<double>(logits[order[i]]) - total);
    if (sum > 1 - p) return;
    logits[order[i]] = kRemoved;
  }
}

}  // namespace

int32_t sample_token(float* logits, int64_t vocab, const SampleOptions& options, const std::vector<int32_t>& seen,
                     double u) {
  if (options.repetition_penalty != 1) penalize(logits, vocab, options.repetition_penalty, seen);
  if (options.greedy) return static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);
  if (options.temperature != 1) {
    const auto t = static_cast<float>(options.temperature);
    for (int64_t v = 0; v < vocab; ++v) logits[v] /= t;
  }
  keep_top_k(logits, vocab, options.top_k);
  keep_top_p(logits, vocab, options.top_p);
  softmax(logits, vocab);
  double total = 0;
  for (int64_t v = 0; v < vocab; ++v) total += static_cast<double>(logits[v]);
  const double goal = u * total;  // the float32 probabilities need not sum to 1
  double sum = 0;
  int64_t last = 0;
  for (int64_t v = 0; v < vocab; ++v) {
    if (logits[v] <= 0) continue;
    sum += static_cast<double>(logits[v]);
    last = v;
    if (sum > goal) break;
  }
  return static_cast<int32_t>(last);
}

}  // namespace qz
