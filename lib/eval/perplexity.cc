#include "eval/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "eval/score.h"
#include "eval/windows.h"
#include "model/block.h"

namespace qz {
namespace {

constexpr int64_t kGroupTokens = 65536;             // whose activations are in memory at once
constexpr int64_t kLogitRows = 256;                 // rows of logits at once,
constexpr int64_t kLogitValues = int64_t{1} << 25;  // and fewer for a large vocabulary
constexpr uint32_t kRowsATask = 8;

// Windows beyond what a model was trained for say nothing, except where the positions are scaled by the length at hand.
int64_t position_limit(const Model& model) {
  const bool dynamic = model.config().position == PositionKind::kRope && model.config().rope.kind == RopeKind::kDynamic;
  return dynamic ? int64_t{1} << 30 : model.config().max_seq;
}

struct Runner {  // one of the two models
  const Model* model;
  Ends ends;
  std::optional<RopeTable> rope;
  std::vector<float> stream;  // [tokens of the group][hidden]
};

Result<Runner> make_runner(const Model& model, int64_t longest) {
  QZ_ASSIGN(Ends ends, Ends::load(model));
  Runner runner{&model, std::move(ends), RopeTable(), {}};
  runner.rope = make_rope_table(model.config(), longest);
  return runner;
}

// Where an evaluation is: steps are blocks run and heads applied, per group and model.
struct Steps {
  Progress* progress;
  int64_t done = 0, total = 1;
  Status next(int32_t layer, int32_t layers, double part = 1) {
    if (progress == nullptr) return {};
    progress->info.layer = layer, progress->info.layers = layers;
    progress->info.fraction = (static_cast<double>(done) + part) / static_cast<double>(total);
    if (part >= 1) ++done;
    return progress->poll();
  }
};

struct Sums {
  std::vector<double> nll;      // per window
  std::vector<int64_t> tokens;  // per window
  std::vector<double> kl;       // per scored token
  int64_t agreed = 0, scored = 0;
};

// The residual stream of the windows [first, end) after the last block.
Status run_blocks(Runner* runner, const TokenSet& text, const std::vector<Window>& windows, size_t first, size_t end,
                  Steps* steps) {
  const Model& model = *runner->model;
  Sequences sequences;
  std::vector<int32_t> ids;
  sequences.start.push_back(0);
  for (size_t w = first; w < end; ++w) {
    const auto begin = text.sequences[windows[w].sequence].begin() + windows[w].start;
    ids.insert(ids.end(), begin, begin + windows[w].length);
    sequences.start.push_back(static_cast<int64_t>(ids.size()));
  }
  runner->stream.resize(ids.size() * static_cast<size_t>(model.config().hidden));
  QZ_TRY(runner->ends.embed(model, sequences, ids.data(), runner->stream.data()));
  for (int64_t layer = 0; layer < model.config().layers; ++layer) {
    QZ_ASSIGN(Block block, load_block(model, layer));
    QZ_TRY(tile_linears(model.context(), &block));
    QZ_TRY(block_forward(model, block, *runner->rope, sequences, nullptr, runner->stream.data(), steps->progress));
    QZ_TRY(steps->next(static_cast<int32_t>(layer), static_cast<int32_t>(model.config().layers)));
  }
  return {};
}

struct ScoredRow {
  int64_t row;  // of the group's streams: predicts the next token
  int32_t target;
  size_t window;
};

// Logits of all scored rows, a chunk at a time, of both models; scores are summed in the order of the rows.
Status score_rows(Runner* model, Runner* reference, const std::vector<ScoredRow>& rows, Steps* steps, Sums* sums) {
  const Context& context = model->model->context();
  const int64_t vocab = model->model->config().outputs;
  const int64_t chunk = std::clamp(kLogitValues / vocab, int64_t{8}, kLogitRows);
  std::vector<float> input, logits(static_cast<size_t>(chunk * vocab)), reference_logits;
  if (reference != nullptr) reference_logits.resize(logits.size());
  std::vector<TokenScore> scores(static_cast<size_t>(chunk));
  for (size_t at = 0; at < rows.size(); at += static_cast<size_t>(chunk)) {
    const int64_t some = std::min(chunk, static_cast<int64_t>(rows.size() - at));
    const auto apply = [&](Runner* runner, float* out) {
      const int64_t hidden = runner->model->config().hidden;
      input.resize(static_cast<size_t>(some * hidden));
      for (int64_t i = 0; i < some; ++i) {
        const float* row = runner->stream.data() + rows[at + static_cast<size_t>(i)].row * hidden;
        std::copy_n(row, hidden, input.data() + i * hidden);
      }
      return runner->ends.logits(*runner->model, {input.data(), some, hidden, hidden}, out, steps->progress);
    };
    QZ_TRY(apply(model, logits.data()));
    if (reference != nullptr) QZ_TRY(apply(reference, reference_logits.data()));
    const auto tasks = (static_cast<uint32_t>(some) + kRowsATask - 1) / kRowsATask;
    const auto score = [&](uint32_t task, uint32_t) {
      const int64_t end = std::min<int64_t>(some, int64_t{task + 1} * kRowsATask);
      for (int64_t i = int64_t{task} * kRowsATask; i < end; ++i) {
        const float* other = reference != nullptr ? reference_logits.data() + i * vocab : nullptr;
        scores[static_cast<size_t>(i)] =
            score_token(logits.data() + i * vocab, other, vocab, rows[at + static_cast<size_t>(i)].target);
      }
      return Status();
    };
    QZ_TRY(parallel_for(context, tasks, score, steps->progress));
    for (int64_t i = 0; i < some; ++i) {
      const ScoredRow& row = rows[at + static_cast<size_t>(i)];
      const TokenScore& s = scores[static_cast<size_t>(i)];
      if (!std::isfinite(s.nll) || !std::isfinite(s.kl)) {
        return error(Code::kNumeric, "window %zu: the logits before token id %d are not finite", row.window,
                     row.target);
      }
      sums->nll[row.window] += s.nll;
      ++sums->tokens[row.window];
      if (reference != nullptr) sums->kl.push_back(s.kl);
      sums->agreed += s.agrees ? 1 : 0;
      ++sums->scored;
    }
    QZ_TRY(steps->next(0, 0, static_cast<double>(at + static_cast<size_t>(some)) / static_cast<double>(rows.size())));
  }
  return {};
}

// The end of the group of windows that starts at `first`.
size_t group_end(const std::vector<Window>& windows, size_t first) {
  size_t end = first + 1;
  int64_t tokens = windows[first].length;
  while (end < windows.size() && tokens + windows[end].length <= kGroupTokens) tokens += windows[end++].length;
  return end;
}

EvalResult summarize(Sums* sums, bool compared) {
  EvalResult result;
  double nll = 0, kl = 0;
  for (double v : sums->nll) nll += v;
  for (double v : sums->kl) kl += v;
  const auto n = static_cast<double>(sums->scored);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  result.perplexity = std::exp(nll / n);
  result.perplexity_error = bootstrap_error(sums->nll, sums->tokens);
  result.kl = compared ? kl / n : nan;
  result.kl_p99 = compared ? quantile(&sums->kl, 0.99) : nan;
  result.top1 = compared ? static_cast<double>(sums->agreed) / n : nan;
  result.tokens = sums->scored;
  return result;
}

}  // namespace

Result<EvalResult> evaluate_perplexity(const Model& model, const Model* reference, const TokenSet& text,
                                       const EvalOptions& options, Progress* progress) {
  const ReleaseUnusedAtEnd release;
  const auto start = std::chrono::steady_clock::now();
  if (reference != nullptr && reference->config().vocab != model.config().vocab) {
    return error(Code::kInvalidArgument, "the reference has a vocabulary of %lld tokens, the model one of %lld",
                 static_cast<long long>(reference->config().vocab), static_cast<long long>(model.config().vocab));
  }
  if (!text.embeddings.empty()) {
    return error(Code::kInvalidArgument, "a text that is evaluated is token ids, found %zu sequences of embeddings",
                 text.embeddings.size());
  }
  if (reference != nullptr &&
      (reference->config().outputs != model.config().outputs || reference->config().pooled != model.config().pooled ||
       reference->config().causal != model.config().causal)) {
    return error(Code::kInvalidArgument,
                 "the reference and the model do not answer alike: one is an encoder, or a "
                 "classifier with other labels");
  }
  if (!model.config().causal && reference == nullptr) {
    return error(Code::kInvalidArgument, "an encoder has no perplexity: its outputs are compared with a reference's");
  }
  int64_t max_seq = position_limit(model);
  if (reference != nullptr) max_seq = std::min(max_seq, position_limit(*reference));
  QZ_ASSIGN(const WindowPlan plan,
            model.config().causal ? plan_windows(text, options, max_seq) : plan_texts(text, max_seq));
  const std::vector<Window>& windows = plan.windows;
  int64_t longest = 0, groups = 0;
  for (const Window& w : windows) longest = std::max(longest, w.length);
  for (size_t i = 0; i < windows.size(); i = group_end(windows, i)) ++groups;

  QZ_ASSIGN(Runner mine, make_runner(model, longest));
  std::optional<Runner> other;
  if (reference != nullptr) {
    QZ_ASSIGN(other, make_runner(*reference, longest));
  }
  Steps steps{progress, 0, 1};
  steps.total = groups * (model.config().layers + (reference != nullptr ? reference->config().layers : 0) + 1);
  if (progress != nullptr) progress->info.phase = "evaluate";

  Sums sums;
  sums.nll.assign(windows.size(), 0);
  sums.tokens.assign(windows.size(), 0);
  for (size_t first = 0; first < windows.size();) {
    const size_t end = group_end(windows, first);
    QZ_TRY(run_blocks(&mine, text, windows, first, end, &steps));
    if (other.has_value()) QZ_TRY(run_blocks(&*other, text, windows, first, end, &steps));
    std::vector<ScoredRow> rows;
    int64_t base = 0;
    for (size_t w = first; w < end; base += windows[w++].length) {
      if (!model.config().causal) {  // outputs are compared, not scored against the text
        const int64_t count = model.config().pooled ? 1 : windows[w].length;
        for (int64_t i = 0; i < count; ++i) rows.push_back({base + i, 0, w});
        continue;
      }
      const std::vector<int32_t>& ids = text.sequences[windows[w].sequence];
      for (int64_t i = windows[w].scored; i < windows[w].length; ++i) {
        rows.push_back({base + i - 1, ids[static_cast<size_t>(windows[w].start + i)], w});
      }
    }
    QZ_TRY(score_rows(&mine, other.has_value() ? &*other : nullptr, rows, &steps, &sums));
    first = end;
  }
  EvalResult result = summarize(&sums, reference != nullptr);
  if (!model.config().causal) result.perplexity = result.perplexity_error = std::numeric_limits<double>::quiet_NaN();
  result.protocol = plan.protocol;
  result.token_hash = text.hash();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  result.tokens_per_s = static_cast<double>(result.tokens) / std::max(1e-9, seconds.count());
  if (progress != nullptr) QZ_TRY(progress->force());
  return result;
}

}  // namespace qz
