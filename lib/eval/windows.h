// Which tokens are evaluated in which context.
#pragma once
#include <string>
#include <vector>

#include "eval/perplexity.h"

namespace qz {

struct Window {
  size_t sequence = 0;            // of the text
  int64_t start = 0, length = 0;  // tokens [start, start + length) are fed
  int64_t scored = 1;             // tokens from this index on are scored, each predicted by the one before; >= 1
};

struct WindowPlan {
  std::vector<Window> windows;
  std::string protocol;  // "window-256" "strided-512/256"
};

// Every sequence as it is, cut to max_seq: protocol "texts". kInvalidArgument when there is none.
Result<WindowPlan> plan_texts(const TokenSet& text, int64_t max_seq);

// kInvalidArgument when options make no sense, the text is empty, or no window is full. max_seq is the model's.
Result<WindowPlan> plan_windows(const TokenSet& text, const EvalOptions& options, int64_t max_seq);

}  // namespace qz
