#include "eval/generate.h"

#include <algorithm>
#include <cmath>

namespace qz {
namespace {

constexpr uint64_t kGenerateStream = 0;

Status check_options(const SampleOptions& o) {
  const auto usable = [](double v) { return std::isfinite(v) && v > 0; };
  if (!usable(o.temperature) || !usable(o.top_p) || !usable(o.repetition_penalty) || o.top_k < 0) {
    return error(
        Code::kInvalidArgument,
        "temperature, top_p and repetition_penalty must be positive and top_k not negative, found %g, %g, %g, %d",
        o.temperature, o.top_p, o.repetition_penalty, o.top_k);
  }
  return {};
}

}  // namespace

Status generate(Session* session, const std::vector<int32_t>& prompt, int64_t max_tokens, const SampleOptions& options,
                const std::function<bool(int32_t)>& on_token) {
  QZ_TRY(check_options(options));
  if (!session->model().config().causal) return error(Code::kUnsupported, "an encoder does not write text");
  if (prompt.empty()) return error(Code::kInvalidArgument, "the prompt is empty");
  if (session->batch() != 1) return error(Code::kInvalidArgument, "the session is for several sequences");
  const ModelConfig& config = session->model().config();
  std::vector<float> logits(static_cast<size_t>(config.vocab));
  std::vector<int32_t> seen = prompt;
  QZ_TRY(session->step(prompt.data(), static_cast<int64_t>(prompt.size()), false, logits.data()));
  for (int64_t i = 0; i < max_tokens; ++i) {
    const double u = uniform(options.seed, kGenerateStream, static_cast<uint64_t>(i));
    const int32_t token = sample_token(logits.data(), config.vocab, options, seen, u);
    if (!on_token(token) || token == config.eos || i + 1 == max_tokens) break;
    if (session->position() == session->max_seq()) break;
    seen.push_back(token);
    QZ_TRY(session->step(&token, 1, false, logits.data()));
  }
  return {};
}

}  // namespace qz
