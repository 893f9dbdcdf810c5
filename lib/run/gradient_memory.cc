#include "run/gradient_memory.h"

#include <algorithm>

#include "base/checked.h"
#include "kernels/gemm.h"
#include "run/solve_memory.h"

namespace qz {
namespace {

constexpr int64_t kLogitRows = 256;  // as model/label_gradient.cc has it
// Arrays that are not written yet lie between others, with which their first and last large page are shared.
constexpr uint64_t kLargePage = 2u << 20;
constexpr const char* kActivations = "activations while the metric is measured";
constexpr const char* kMetrics = "output metrics";

class GradientMoments {
 public:
  GradientMoments(const Moment& base, const Model& model, const GradientSize& size)
      : base_(base), model_(model), config_(model.config()), size_(size), stream_(rows_of(config_.hidden)) {}

  std::vector<Moment> list() {
    labels();
    for (int64_t layer = config_.layers - 1; layer >= 0; layer--) block(layer);
    return std::move(moments_);
  }

 private:
  // What the modules of one half of a block take.
  struct Half {
    Count metrics, largest;  // of one weight in float32
    int64_t gates = 0, inner = 0;
    Count weights;  // of one expert
  };

  Count rows_of(int64_t cols) const { return floats(size_.rows, cols); }
  // Of `arrays` of a stream's size that are not written yet.
  Count edges(int64_t arrays) const {
    return stream_.value() < 2 * kLargePage ? Count() : Count(kLargePage / 2) * Count(arrays);
  }
  static bool feeds(Role role) {
    return role == Role::kGate || role == Role::kUp || role == Role::kGateUp || role == Role::kDown;
  }

  void add(Half* half, const Module& m) const {
    half->largest = std::max(half->largest, floats(m.rows, m.cols));
    half->weights += dense_bytes(config_, m);
    if (m.expert < 0) half->metrics += floats(m.rows, std::min(size_.chain, m.rows));
    if (m.role == Role::kDown) {
      half->inner = m.cols;
    } else if (feeds(m.role)) {
      half->gates += m.rows;
    }
  }

  // The streams before the blocks up to this one, the gradient behind it, and its weights.
  Moment at(int64_t layer, const Half& first, const Half& second, const char* name) const {
    Moment m = base_;
    m.name = name;
    m.add(kMetrics, metrics_);
    m.add(kActivations, stream_, layer + 2);
    m.add("one block", first.weights + second.weights);
    return m;
  }

  // The float32 head and some rows of logits, the streams of all blocks behind them.
  void labels() {
    Moment m = base_;
    m.name = "measuring the gradients of the labels";
    const Count head = floats(config_.vocab, config_.embed_dim);
    Moment loading = m;
    loading.add(kActivations, stream_, config_.layers + 1);
    loading.add("head", head + dense_bytes(config_, model_.modules().back()));
    moments_.push_back(std::move(loading));
    m.add(kActivations, stream_, config_.layers + 2);
    m.add("head", head);
    const int64_t rows = std::min(size_.rows, kLogitRows);
    m.add("logits", floats(rows, config_.vocab) + floats(rows, 2 * config_.hidden));
    moments_.push_back(std::move(m));
  }

  void block(int64_t layer) {
    Half attention, feed, expert;
    int64_t mixed = 0, latent = 0;
    const auto [begin, end] = model_.block_modules(layer);
    for (size_t i = begin; i < end; i++) {
      const Module& m = model_.modules()[i];
      if (m.expert == 0) add(&expert, m);
      if (m.expert >= 0) continue;
      add(feeds(m.role) ? &feed : &attention, m);
      if (m.role == Role::kO) mixed = m.cols;
      if (m.role == Role::kKvA) latent += 2 * m.rows + config_.latent.kv_rank;
      if (m.role == Role::kKvB) latent += m.rows;
    }
    const bool mixture = expert.inner > 0;
    const ArchDesc& arch = model_.arch();
    // What both halves keep for their way back: the other norms' inputs.
    const auto keeps = [&](bool post) { return (post ? 1 : 0) + (config_.norm_first ? 0 : 1); };
    const int64_t attention_keeps = keeps(!arch.attn_post_norm.empty()),
                  feed_keeps = keeps(!arch.mlp_post_norm.empty());
    const int64_t projected =
        (config_.heads + config_.kv_heads) * config_.head_dim + config_.kv_heads * config_.value_dim;
    const Count routes = mixture ? stream_ + rows_of(config_.moe.experts + 2 * config_.moe.per_token) : Count();

    // Forwards: the MLP's input, the projections, the mixed heads, the stream between; the MLP's output where it is
    // read.
    Moment forward = at(layer, attention, feed, "measuring the output metric: forwards");
    forward.add(kActivations, stream_, 2 + attention_keeps);
    forward.add(kActivations, rows_of(projected) + rows_of(mixed) + routes + rows_of(feed.gates));
    if (feed_keeps > 0) forward.add(kActivations, stream_ + rows_of(feed.inner));
    moments_.push_back(std::move(forward));

    // Backwards through the MLP: the stream between, and at a sum, at the output and at the input.
    Moment back = at(layer, attention, feed, "measuring the output metric");
    back.add(kActivations, stream_, 4 + attention_keeps + feed_keeps);
    back.add(kActivations, rows_of(projected) + routes + edges(2));
    back.add(kMetrics, feed.metrics);
    Moment dense = back;
    dense.add(kActivations, rows_of(feed.gates) + rows_of(feed.inner));
    if (mixture && !arch.shared_scale.empty()) dense.add(kActivations, stream_, 2);
    dense.add("weight in float32", feed.largest);
    moments_.push_back(std::move(dense));
    if (mixture) {
      const int64_t share = ceil_div(size_.rows * config_.moe.per_token, config_.moe.experts);
      back.add(kActivations, floats(share, 4 * config_.hidden + expert.gates + expert.inner));
      back.add(kActivations, rows_of(config_.moe.experts));
      back.add("one expert", expert.weights);
      back.add("weight in float32", expert.largest);
      moments_.push_back(std::move(back));
    }
    metrics_ += feed.metrics;

    // Backwards through the attention, from the gradient in the middle.
    Moment mixing = at(layer, attention, feed, "measuring the output metric");
    mixing.add(kActivations, stream_, 4 + attention_keeps + feed_keeps + (config_.parallel ? 1 : 0));
    mixing.add(kActivations, rows_of(2 * projected + mixed) + routes + edges(1));
    if (latent > 0) mixing.add(kActivations, stream_ + rows_of(std::max(latent, 3 * config_.latent.q_rank)));
    mixing.add(kMetrics, attention.metrics);
    mixing.add("weight in float32", attention.largest);
    moments_.push_back(std::move(mixing));
    metrics_ += attention.metrics;
  }

  const Moment& base_;
  const Model& model_;
  const ModelConfig& config_;
  const GradientSize size_;
  const Count stream_;  // one residual stream
  Count metrics_;       // of the blocks behind
  std::vector<Moment> moments_;
};

}  // namespace

std::vector<Moment> gradient_moments(const Moment& base, const Model& model, const GradientSize& size) {
  return GradientMoments(base, model, size).list();
}

size_t gradient_panels(const Model& model, const GradientSize& size) {
  const ModelConfig& config = model.config();
  const auto both = [](int64_t m, int64_t n, int64_t k) {
    return std::max(product_scratch(Products::kFast, m, n, k), product_scratch(Products::kFast, m, k, n));
  };
  size_t bytes = both(std::min(size.rows, kLogitRows), config.vocab, config.embed_dim);
  for (const Module& m : model.modules()) {
    if (m.layer < 0) continue;
    bytes = std::max(
        {bytes, both(size.rows, m.rows, m.cols),
         product_scratch(Products::kFast, std::min(size.chain, m.rows), std::min(size.chain, m.rows), size.rows)});
  }
  return bytes;
}

}  // namespace qz
