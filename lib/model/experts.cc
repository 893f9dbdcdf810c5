#include "model/experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/ops.h"
#include "model/layout.h"
#include "model/scratch.h"

namespace qz {
namespace {

// Indices of the `count` largest values, by falling value, the lower index first among equals.
void best_of(const float* values, int64_t n, int64_t count, std::vector<int32_t>* order) {
  order->resize(static_cast<size_t>(n));
  std::iota(order->begin(), order->end(), 0);
  std::partial_sort(order->begin(), order->begin() + count, order->end(),
                    [&](int32_t a, int32_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
}

class RowRouter {
 public:
  RowRouter(const MoeConfig& moe, const std::vector<float>& bias) : moe_(moe), bias_(bias) {}

  // scores: the router's outputs, which become softmax or sigmoid.
  void run(float* scores, int32_t* expert, float* weight) {
    const int64_t n = moe_.experts;
    if (moe_.scoring == Scoring::kSoftmax) {
      softmax(scores, n);
    } else {
      for (int64_t e = 0; e < n; ++e) scores[e] = 1.0f / (1.0f + std::exp(-scores[e]));
    }
    choice_.assign(scores, scores + n);
    for (size_t e = 0; e < bias_.size(); ++e) choice_[e] += bias_[e];
    if (moe_.groups > 1) keep_best_groups();
    best_of(choice_.data(), n, moe_.per_token, &order_);
    float sum = 1e-20f;
    for (int64_t i = 0; i < moe_.per_token; ++i) {
      expert[i] = order_[static_cast<size_t>(i)];
      sum += weight[i] = scores[expert[i]];
    }
    const float factor = static_cast<float>(moe_.scale) / (moe_.normalize ? sum : 1.0f);
    for (int64_t i = 0; i < moe_.per_token; ++i) weight[i] *= factor;
  }

 private:
  void keep_best_groups() {
    const int64_t size = moe_.experts / moe_.groups;
    std::vector<float> group(static_cast<size_t>(moe_.groups));
    for (int64_t g = 0; g < moe_.groups; ++g) {
      best_of(choice_.data() + g * size, size, moe_.group_best, &order_);
      for (int64_t i = 0; i < moe_.group_best; ++i) {
        group[static_cast<size_t>(g)] += choice_[static_cast<size_t>(g * size + order_[static_cast<size_t>(i)])];
      }
    }
    best_of(group.data(), moe_.groups, moe_.groups, &order_);
    for (int64_t i = moe_.top_groups; i < moe_.groups; ++i) {
      const int64_t first = order_[static_cast<size_t>(i)] * size;
      std::fill_n(choice_.begin() + first, size, -std::numeric_limits<float>::infinity());
    }
  }

  const MoeConfig& moe_;
  const std::vector<float>& bias_;
  std::vector<float> choice_;
  std::vector<int32_t> order_;
};

}  // namespace

Status route(const Model& model, const Block& block, MatrixView x, Routes* routes, Progress* progress) {
  const MoeConfig& moe = model.config().moe;
  routes->per_token = moe.per_token;
  routes->scores = Matrix(x.rows, moe.experts);
  routes->expert.assign(static_cast<size_t>(x.rows * moe.per_token), 0);
  routes->weight.assign(routes->expert.size(), 0.0f);
  QZ_TRY(block.router.apply(model.context(), x, false, routes->scores.data(), progress));
  return for_rows(model.context(), x.rows, [&](int64_t first, int64_t end) {
    RowRouter router(moe, block.router_bias);
    for (int64_t i = first; i < end; ++i) {
      router.run(routes->scores.row(i), routes->expert.data() + i * moe.per_token,
                 routes->weight.data() + i * moe.per_token);
    }
  });
}

std::vector<Share> shares(const Routes& routes, int64_t experts) {
  std::vector<Share> all(static_cast<size_t>(experts));
  for (size_t at = 0; at < routes.expert.size(); ++at) {
    Share& share = all[static_cast<size_t>(routes.expert[at])];
    share.rows.push_back(static_cast<int64_t>(at) / routes.per_token);
    share.weights.push_back(routes.weight[at]);
  }
  return all;
}

Result<Feed> load_expert(const Model& model, int64_t layer, int64_t expert) {
  Feed feed;
  const auto [first, end] = model.block_modules(layer);
  for (size_t i = first; i < end; ++i) {
    const Module& m = model.modules()[i];
    if (m.expert != expert) continue;
    QZ_ASSIGN(feed.at(m.role), load_linear(model, i));
  }
  return feed;
}

void gather_rows(MatrixView x, const int64_t* rows, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) std::copy_n(x.row(rows[i]), x.cols, out + i * x.cols);
}

Status add_expert(const Model& model, const Feed& feed, const Share& share, MatrixView x, float* y,
                  Progress* progress) {
  const auto total = static_cast<int64_t>(share.rows.size());
  const int64_t most = std::min(total, kScratchRows), inner = feed.down.cols;
  Scratch in(most * x.cols), m(most * inner), out(most * x.cols);
  for (int64_t begin = 0; begin < total; begin += most) {
    const int64_t rows = std::min(most, total - begin);
    const int64_t* row = share.rows.data() + begin;
    gather_rows(x, row, rows, in.data());
    QZ_TRY(feed_mix(model, feed, in.view(rows, x.cols), m.data(), progress));
    QZ_TRY(feed.down.apply(model.context(), m.view(rows, inner), false, out.data(), progress));
    for (int64_t i = 0; i < rows; ++i) {
      const float weight = share.weights[static_cast<size_t>(begin + i)];
      const float* from = out.data() + i * x.cols;
      float* to = y + row[i] * x.cols;
      for (int64_t j = 0; j < x.cols; ++j) to[j] += weight * from[j];
    }
  }
  return {};
}

Status add_shared(const Model& model, const Block& block, MatrixView x, MatrixView m, float* y, Progress* progress) {
  const Context& context = model.context();
  if (!block.shared_scale.present()) return block.mlp.down.apply(context, m, true, y, progress);
  std::vector<float> scale(static_cast<size_t>(x.rows));
  QZ_TRY(block.shared_scale.apply(context, x, false, scale.data(), progress));
  Scratch out(x.rows * x.cols);
  QZ_TRY(block.mlp.down.apply(context, m, false, out.data(), progress));
  return for_rows(context, x.rows, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      const float s = 1.0f / (1.0f + std::exp(-scale[static_cast<size_t>(i)]));
      for (int64_t j = i * x.cols; j < (i + 1) * x.cols; ++j) y[j] += s * out.data()[j];
    }
  });
}

Status add_experts(const Model& model, const Block& block, MatrixView x, float* y, Progress* progress) {
  Routes routes;
  QZ_TRY(route(model, block, x, &routes, progress));
  const std::vector<Share> all = shares(routes, model.config().moe.experts);
  for (size_t e = 0; e < all.size(); ++e) {
    if (all[e].rows.empty()) continue;
    if (!block.experts.empty()) {
      QZ_TRY(add_expert(model, block.experts[e], all[e], x, y, progress));
      continue;
    }
    QZ_ASSIGN(const Feed feed, load_expert(model, block.layer, static_cast<int64_t>(e)));
    QZ_TRY(add_expert(model, feed, all[e], x, y, progress));
  }
  return {};
}

}  // namespace qz
