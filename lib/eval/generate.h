// Sampling: from logits to the next token, and whole texts written by the model itself for calibration.
#pragma once
#include <functional>
#include <vector>

#include "base/random.h"
#include "io/tokens.h"
#include "model/session.h"

namespace qz {

struct SampleOptions {
  bool greedy = false;
  double temperature = 1, top_p = 1, repetition_penalty = 1;  // 1 = off; temperature divides logits
  int32_t top_k = 0;                                          // 0 = off
  uint64_t seed = 0;
};

// Repetition penalty on the tokens in `seen`, temperature, top-k, top-p, in the order of transformers' logits
// processors; then the token at `u` of the cumulative distribution, or the most likely one if greedy. `logits` is
// changed.
int32_t sample_token(float* logits, int64_t vocab, const SampleOptions& options, const std::vector<int32_t>& seen,
                     double u);

// Feeds the prompt (at least one token), then samples up to max_tokens new tokens. Ends early after the model's
// end-of-text token (which on_token gets too), when on_token returns false, or when the session is full. The session
// keeps what was fed: all but the last token.
Status generate(Session* session, const std::vector<int32_t>& prompt, int64_t max_tokens, const SampleOptions& options,
                const std::function<bool(int32_t)>& on_token);

// `sequences` texts of `length` tokens each (the first is the model's bos, or a token drawn uniformly if it has none),
// temperature 1, decoded in batches. Sequence i depends on the model, length, seed and i only.
Result<TokenSet> write_itself(ModelPtr model, int64_t sequences, int64_t length, uint64_t seed, Progress* progress);

}  // namespace qz
