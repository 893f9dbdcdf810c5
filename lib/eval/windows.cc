#include "eval/windows.h"

#include <algorithm>

namespace qz {
namespace {

constexpr int64_t kDefaultWindow = 2048;

// Disjoint windows; what is left over at the end of a sequence is dropped.
void add_disjoint(const TokenSet& text, size_t sequence, int64_t window, std::vector<Window>* out) {
  const auto length = static_cast<int64_t>(text.sequences[sequence].size());
  for (int64_t at = 0; at + window <= length; at += window) out->push_back({sequence, at, window, 1});
}

// Windows every `stride` tokens up to the one that reaches the end; each scores what no earlier one has seen, so all
// but the first tokens have at least window - stride tokens of context (the perplexity guide of transformers).
void add_strided(const TokenSet& text, size_t sequence, int64_t window, int64_t stride, std::vector<Window>* out) {
  const auto length = static_cast<int64_t>(text.sequences[sequence].size());
  for (int64_t at = 0, seen = 0; seen < length; at += stride) {
    const int64_t end = std::min(at + window, length);
    const int64_t scored = std::max<int64_t>(1, seen - at);
    if (end - at > scored) out->push_back({sequence, at, end - at, scored});
    seen = end;
  }
}

}  // namespace

Result<WindowPlan> plan_texts(const TokenSet& text, int64_t max_seq) {
  WindowPlan plan;
  plan.protocol = "texts";
  for (size_t s = 0; s < text.sequences.size(); ++s) {
    const auto length = static_cast<int64_t>(text.sequences[s].size());
    if (length > 0) plan.windows.push_back({s, 0, std::min(length, max_seq), 0});
  }
  if (plan.windows.empty()) return error(Code::kInvalidArgument, "the text has no sequence of at least one token");
  return plan;
}

Result<WindowPlan> plan_windows(const TokenSet& text, const EvalOptions& options, int64_t max_seq) {
  int64_t longest = 0;
  for (const auto& sequence : text.sequences) longest = std::max(longest, static_cast<int64_t>(sequence.size()));
  const int64_t window = options.window != 0 ? options.window : std::min({max_seq, kDefaultWindow, longest});
  const int64_t stride = options.stride != 0 ? options.stride : window;
  if (longest < 2) return error(Code::kInvalidArgument, "the text has no sequence of at least two tokens");
  if (window < 2 || stride < 1 || stride > window) {
    return error(Code::kInvalidArgument, "window must be at least 2 and stride from 1 to window, found %lld and %lld",
                 static_cast<long long>(window), static_cast<long long>(stride));
  }
  if (window > max_seq) {
    return error(Code::kInvalidArgument, "window %lld is longer than the %lld positions of the model",
                 static_cast<long long>(window), static_cast<long long>(max_seq));
  }
  WindowPlan plan;
  for (size_t s = 0; s < text.sequences.size(); ++s) {
    if (stride == window) {
      add_disjoint(text, s, window, &plan.windows);
    } else {
      add_strided(text, s, window, stride, &plan.windows);
    }
  }
  if (plan.windows.empty()) {
    return error(Code::kInvalidArgument, "the longest sequence has %lld tokens, a window needs %lld",
                 static_cast<long long>(longest), static_cast<long long>(window));
  }
  plan.protocol = stride == window ? "window-" + std::to_string(window)
                                   : "strided-" + std::to_string(window) + "/" + std::to_string(stride);
  return plan;
}

}  // namespace qz
