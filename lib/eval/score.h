// Numbers of one scored token, and of all of them.
#pragma once
#include <cstdint>
#include <vector>

namespace qz {

struct TokenScore {
  double nll = 0;      // -log p(target) of the model
  double kl = 0;       // sum_v p_ref (log p_ref - log p_model); 0 without a reference
  bool agrees = true;  // both models' most likely token is the same
};

// logits of one position; reference may be null. A tie for the most likely token goes to the lowest id.
TokenScore score_token(const float* logits, const float* reference, int64_t vocab, int32_t target);

// The q-quantile, linear between neighbours (NumPy's default); `values` is sorted by it. NaN if empty.
double quantile(std::vector<double>* values, double q);

// Standard error of exp(mean nll): windows drawn with replacement, 200 times, seed 0. NaN for a single window.
double bootstrap_error(const std::vector<double>& window_nll, const std::vector<int64_t>& window_tokens);

}  // namespace qz
