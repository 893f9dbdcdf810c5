#include "model/experts_gradient.h"

#include <algorithm>
#include <cmath>

#include "kernels/gradients.h"
#include "model/scratch.h"

namespace qz {
namespace {

float dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return static_cast<float>(sum);
}

Status ignore(Role, MatrixView) { return {}; }

}  // namespace

Status MixtureBackward::forward(MatrixView x) {
  x_ = Matrix(x.rows, x.cols);
  for (int64_t i = 0; i < x.rows; ++i) std::copy_n(x.row(i), x.cols, x_.row(i));
  QZ_TRY(route(model_, block_, x, &routes_, progress_));
  return block_.mlp.down.present() ? shared_.forward(x) : Status();
}

Status MixtureBackward::output(float* y) const {
  std::fill_n(y, x_.rows() * x_.cols(), 0.0f);
  if (block_.mlp.down.present()) {
    Scratch m(x_.rows() * block_.mlp.down.cols);
    QZ_TRY(feed_mix(model_, block_.mlp, x_.view(), m.data(), progress_));
    QZ_TRY(add_shared(model_, block_, x_.view(), m.view(x_.rows(), block_.mlp.down.cols), y, progress_));
  }
  return add_experts(model_, block_, x_.view(), y, progress_);
}

Status MixtureBackward::backward(MatrixView g, float* dx) {
  if (block_.mlp.down.present()) QZ_TRY(backward_shared(g, dx));
  const std::vector<Share> all = shares(routes_, model_.config().moe.experts);
  Matrix d(x_.rows(), model_.config().moe.experts);  // at the weights; 0 where a token does not go
  for (size_t e = 0; e < all.size(); ++e) {
    if (all[e].rows.empty()) continue;
    std::vector<float> mine(all[e].rows.size());
    if (!block_.experts.empty()) {
      QZ_TRY(backward_expert(block_.experts[e], all[e], g, mine.data(), dx));
    } else {
      QZ_ASSIGN(const Feed feed, load_expert(model_, block_.layer, static_cast<int64_t>(e)));
      QZ_TRY(backward_expert(feed, all[e], g, mine.data(), dx));
    }
    for (size_t i = 0; i < mine.size(); ++i) d.row(all[e].rows[i])[e] = mine[i];
  }
  Matrix logits(d.rows(), d.cols());
  backward_weights(d, &logits);
  const Matrix router = block_.router.to_f32();
  return gemm_nn(model_.context(), logits.view(), router.view(), 1.0f, dx, x_.cols(), progress_);
}

Status MixtureBackward::backward_shared(MatrixView g, float* dx) {
  if (!block_.shared_scale.present()) return shared_.backward(g, dx);
  const Matrix w = block_.shared_scale.to_f32();  // [1][hidden]
  std::vector<float> logit(static_cast<size_t>(g.rows));
  QZ_TRY(block_.shared_scale.apply(model_.context(), x_.view(), false, logit.data(), progress_));
  Matrix y(g.rows, g.cols), scaled(g.rows, g.cols);
  QZ_TRY(shared_.output(y.data()));
  for (int64_t i = 0; i < g.rows; ++i) {
    const float s = 1.0f / (1.0f + std::exp(-logit[static_cast<size_t>(i)]));
    const float slope = dot(g.row(i), y.row(i), g.cols) * s * (1 - s);
    for (int64_t j = 0; j < g.cols; ++j) {
      scaled.row(i)[j] = s * g.row(i)[j];
      dx[i * g.cols + j] += slope * w.row(0)[j];
    }
  }
  return shared_.backward(scaled.view(), dx);
}

Status MixtureBackward::backward_expert(const Feed& feed, const Share& share, MatrixView g, float* d, float* dx) const {
  const auto rows = static_cast<int64_t>(share.rows.size());
  const RoleSink sink = ignore;
  FeedBackward expert(model_, feed, sink, progress_);
  Matrix x(rows, x_.cols()), y(rows, x_.cols()), mine(rows, x_.cols()), back(rows, x_.cols());
  gather_rows(x_.view(), share.rows.data(), rows, x.data());
  gather_rows(g, share.rows.data(), rows, mine.data());
  QZ_TRY(expert.forward(x.view()));
  QZ_TRY(expert.output(y.data()));
  for (int64_t i = 0; i < rows; ++i) {
    d[i] = dot(mine.row(i), y.row(i), y.cols());
    for (int64_t j = 0; j < y.cols(); ++j) mine.row(i)[j] *= share.weights[static_cast<size_t>(i)];
  }
  QZ_TRY(expert.backward(mine.view(), back.data()));
  for (int64_t i = 0; i < rows; ++i) {
    float* to = dx + share.rows[static_cast<size_t>(i)] * x_.cols();
    for (int64_t j = 0; j < x_.cols(); ++j) to[j] += back.row(i)[j];
  }
  return {};
}

// From the gradient at the weights to the one at the router's outputs. With scores p and the chosen set S a weight is
// c p_i, or c p_i / sum over S when they are normalized.
void MixtureBackward::backward_weights(const Matrix& d, Matrix* logits) const {
  const MoeConfig& moe = model_.config().moe;
  const auto scale = static_cast<float>(moe.scale);
  for (int64_t i = 0; i < d.rows(); ++i) {
    const float* p = routes_.scores.row(i);
    const int32_t* chosen = routes_.expert.data() + i * moe.per_token;
    float sum = 0, mean = 0;
    for (int64_t k = 0; k < moe.per_token; ++k) sum += p[chosen[k]], mean += d.row(i)[chosen[k]] * p[chosen[k]];
    float* out = logits->row(i);
    for (int64_t k = 0; k < moe.per_token; ++k) {
      const float at = d.row(i)[chosen[k]];
      out[chosen[k]] = moe.normalize ? scale * (at - mean / sum) / sum : scale * at;
    }
    if (moe.scoring == Scoring::kSoftmax) {
      softmax_gradient(p, d.cols(), out);
    } else {
      for (int64_t e = 0; e < d.cols(); ++e) out[e] *= p[e] * (1 - p[e]);
    }
  }
}

}  // namespace qz
