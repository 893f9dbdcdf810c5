// Is it still good? Perplexity, KL divergence to a reference, agreement of the most likely token. Streams the model
// block by block, so memory holds one block and the activations of the evaluated tokens.
#pragma once
#include <string>

#include "io/tokens.h"
#include "model/model.h"

namespace qz {

struct EvalOptions {
  int64_t window = 0;  // tokens a window; 0 = min(model's max_seq, 2048, the longest sequence)
  // 0 or == window: windows do not overlap, remainder dropped, every token but a window's first is scored. < window:
  // sliding windows, only tokens that are new to a window are scored (the protocol of transformers' perplexity guide).
  int64_t stride = 0;
};
struct EvalResult {
  double perplexity = 0, perplexity_error = 0;  // exp(mean nll); standard error by bootstrap over windows (NaN for one)
  double kl = 0, kl_p99 = 0, top1 = 0;          // to the reference, nats per token; NaN without a reference
  double tokens_per_s = 0;
  int64_t tokens = 0;      // scored
  std::string protocol;    // "window-256" or "strided-512/256"
  std::string token_hash;  // SHA-256 of the text
};
// Of encoders the outputs are compared with the reference's, which is then required: of every token, or, of a
// classifier, of every sequence, which is cut to the models' positions and not windowed; the perplexity is NaN.
// Sequences are windowed one by one. reference may be null; it must have the same vocabulary. Sums in float64, in a
// fixed order. kInvalidArgument when no window is full or one is longer than the models' positions; kNumeric when
// logits are not finite.
Result<EvalResult> evaluate_perplexity(const Model& model, const Model* reference, const TokenSet& text,
                                       const EvalOptions& options, Progress* progress);

}  // namespace qz
