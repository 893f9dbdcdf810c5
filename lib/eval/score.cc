#include "eval/score.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "kernels/ops.h"

namespace qz {
namespace {

constexpr int64_t kResamples = 200;

int64_t most_likely(const float* logits, int64_t vocab) { return std::max_element(logits, logits + vocab) - logits; }

}  // namespace

TokenScore score_token(const float* logits, const float* reference, int64_t vocab, int32_t target) {
  TokenScore score;
  const double total = log_sum_exp(logits, vocab);
  score.nll = total - static_cast<double>(logits[target]);
  if (reference == nullptr) return score;
  // sum p_ref (log p_ref - log p) = sum p_ref (x_ref - x) - (lse_ref - lse): the differences are small numbers, so
  // nothing large cancels.
  const double reference_total = log_sum_exp(reference, vocab);
  double sum = 0;
  for (int64_t v = 0; v < vocab; ++v) {
    const double log_p = static_cast<double>(reference[v]) - reference_total;
    sum += std::exp(log_p) * (log_p - (static_cast<double>(logits[v]) - total));
  }
  score.kl = std::max(0.0, sum);  // rounding may leave -1e-17 for equal distributions
  score.agrees = most_likely(logits, vocab) == most_likely(reference, vocab);
  return score;
}

double quantile(std::vector<double>* values, double q) {
  if (values->empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values->begin(), values->end());
  const double at = q * static_cast<double>(values->size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values->size() - 1);
  return (*values)[low] + (at - static_cast<double>(low)) * ((*values)[high] - (*values)[low]);
}

double bootstrap_error(const std::vector<double>& window_nll, const std::vector<int64_t>& window_tokens) {
  const size_t windows = window_nll.size();
  if (windows < 2) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0, squares = 0;
  for (int64_t b = 0; b < kResamples; ++b) {
    double nll = 0, tokens = 0;
    for (size_t i = 0; i < windows; ++i) {
      const auto pick = static_cast<size_t>(uniform(0, static_cast<uint64_t>(b), i) * static_cast<double>(windows));
      nll += window_nll[pick];
      tokens += static_cast<double>(window_tokens[pick]);
    }
    const double perplexity = std::exp(nll / tokens);
    sum += perplexity;
    squares += perplexity * perplexity;
  }
  const auto n = static_cast<double>(kResamples);
  return std::sqrt(std::max(0.0, (squares - sum * sum / n) / (n - 1)));
}

}  // namespace qz
