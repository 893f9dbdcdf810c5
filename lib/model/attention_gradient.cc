#include "model/attention_gradient.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "kernels/gradients.h"
#include "model/heads.h"

namespace qz {
namespace {

// Queries whose scores are in memory at once.
constexpr int64_t kQueryBlock = 64;

// The heads of one sequence, copied out of the projections so that each is dense: [length][dim].
class Heads {
 public:
  Heads(const Model& model, const Block& block, const RopeTable& rope, int64_t row, int64_t length)
      : model_(model), block_(block), rope_(rope), row_(row), length_(length) {}

  int64_t length() const { return length_; }
  MatrixView view(const std::vector<float>& head) const {
    const int64_t dim = static_cast<int64_t>(head.size()) / length_;
    return {head.data(), length_, dim, dim};
  }

  std::vector<float> copy(MatrixView source, int64_t at, int64_t dim) const {
    std::vector<float> out(static_cast<size_t>(length_ * dim));
    for (int64_t t = 0; t < length_; ++t) std::copy_n(source.row(row_ + t) + at, dim, out.data() + t * dim);
    return out;
  }

  // The same after the head's norm and rotation.
  std::vector<float> place(MatrixView source, int64_t at, const NormWeights& norm) const {
    const int64_t dim = model_.config().head_dim;
    std::vector<float> out = copy(source, at, dim);
    for (int64_t t = 0; t < length_; ++t) place_head(model_, block_, norm, rope_, t, out.data() + t * dim);
    return out;
  }

  // The gradient at a copied head, to where the head came from.
  void put(const std::vector<float>& gradient, int64_t width, int64_t at, float* target) const {
    const int64_t dim = static_cast<int64_t>(gradient.size()) / length_;
    for (int64_t t = 0; t < length_; ++t) {
      std::copy_n(gradient.data() + t * dim, dim, target + (row_ + t) * width + at);
    }
  }

  // The gradient at a placed head, back through rotation and norm.
  void put_placed(std::vector<float> gradient, MatrixView source, int64_t at, const NormWeights& norm,
                  float* target) const {
    const int64_t dim = model_.config().head_dim;
    const auto eps = static_cast<float>(model_.config().norm_eps);
    std::vector<float> before(norm.weight.size());
    for (int64_t t = 0; t < length_; ++t) {
      float* g = gradient.data() + t * dim;
      rotate_back(t, g);
      if (norm.weight.empty()) continue;
      std::fill(before.begin(), before.end(), 0.0f);
      rms_norm_gradient(source.row(row_ + t) + at, norm.weight.data(), eps, dim, g, before.data());
      std::copy(before.begin(), before.end(), g);
    }
    put(gradient, source.cols, at, target);
  }

 private:
  // The transpose of the rotation (not the inverse: yarn's tables are scaled): the rotation by the negative angles.
  void rotate_back(int64_t position, float* g) const {
    if (rope_.half == 0) return;
    const bool local = model_.config().rope_local[static_cast<size_t>(block_.layer)] != 0;
    const Angles& angles = local ? rope_.local : rope_.global;
    const float* cos = angles.cos.data() + position * rope_.half;
    g += model_.config().latent.plain;
    std::vector<float> sin(static_cast<size_t>(rope_.half));
    for (int64_t i = 0; i < rope_.half; ++i) {
      sin[static_cast<size_t>(i)] = -angles.sin[static_cast<size_t>(position * rope_.half + i)];
    }
    if (model_.config().rope_pairs == RopePairs::kHalves) return rope_rotate(g, rope_.half, cos, sin.data());
    rope_rotate_neighbours(g, rope_.half, cos, sin.data());
  }

  const Model& model_;
  const Block& block_;
  const RopeTable& rope_;
  const int64_t row_, length_;
};

// One query head against its keys and values: dq = ..., dk += ..., dv += ....
class HeadBackward {
 public:
  HeadBackward(const Context& context, MatrixView k, MatrixView v, float* dk, float* dv)
      : context_(context),
        k_(k),
        v_(v),
        dk_(dk),
        dv_(dv),
        p_(static_cast<size_t>(kQueryBlock * k.rows)),
        dp_(p_.size()) {}

  Status run(const HeadShape& shape, MatrixView q, MatrixView dout, float* dq) {
    shape_ = shape;
    std::fill_n(dq, q.rows * q.cols, 0.0f);
    for (int64_t first = 0; first < q.rows; first += kQueryBlock) {
      QZ_TRY(block(q, dout, first, std::min(first + kQueryBlock, q.rows), dq));
    }
    return {};
  }

 private:
  static MatrixView part(MatrixView m, int64_t begin, int64_t end) {
    return {m.row(begin), end - begin, m.cols, m.stride};
  }
  Status scores(MatrixView left, MatrixView right, float* out) {
    const DenseWeight dense{right.data, DType::kF32, right.rows, right.cols};
    return gemm_nt(context_, left, weight_rows(dense), nullptr, false, out, right.rows);
  }

  Status block(MatrixView q_all, MatrixView dout_all, int64_t first, int64_t end, float* dq) {
    const int64_t window = shape_.window;
    const int64_t begin = window > 0 ? std::max<int64_t>(first - window + 1, 0) : 0;  // keys [begin, last) are seen
    const int64_t last = shape_.causal ? end : k_.rows;
    const int64_t keys = last - begin, dim = q_all.cols;
    const MatrixView q = part(q_all, first, end), dout = part(dout_all, first, end);
    const MatrixView k = part(k_, begin, last), v = part(v_, begin, last);
    QZ_TRY(scores(q, k, p_.data()));
    QZ_TRY(scores(dout, v, dp_.data()));
    for (int64_t i = 0; i < q.rows; ++i) {
      float *p = p_.data() + i * keys, *dp = dp_.data() + i * keys;
      const int64_t stop = shape_.causal ? first + i + 1 - begin : keys;  // row i sees columns [start, stop)
      const int64_t start = window > 0 ? std::max<int64_t>(first + i + 1 - begin - window, 0) : 0;
      for (int64_t j = start; j < stop; ++j) p[j] *= shape_.scale;
      std::vector<float> slope(p + start, p + stop);
      adjust_scores(shape_, begin + start, stop - start, p + start);
      softmax(p + start, stop - start);
      softmax_gradient(p + start, stop - start, dp + start);
      for (int64_t j = start; j < stop && shape_.cap > 0; ++j) {
        const float t = std::tanh(slope[static_cast<size_t>(j - start)] / shape_.cap);
        dp[j] *= 1 - t * t;
      }
      for (float* row : {p, dp}) {
        std::fill(row, row + start, 0.0f);
        std::fill(row + stop, row + keys, 0.0f);
      }
    }
    const MatrixView p{p_.data(), q.rows, keys, keys}, ds{dp_.data(), q.rows, keys, keys};
    QZ_TRY(gemm_nn(context_, ds, k, shape_.scale, dq + first * dim, dim));
    QZ_TRY(gemm_tn(context_, ds, q, shape_.scale, false, dk_ + begin * dim, dim));
    return gemm_tn(context_, p, dout, 1.0f, false, dv_ + begin * v_.cols, v_.cols);
  }

  const Context& context_;
  const MatrixView k_, v_;
  HeadShape shape_;
  float *dk_, *dv_;
  std::vector<float> p_, dp_;  // softmax of the scores of a query block, and the gradients there
};

// fn(heads, row, kv_head) for every sequence and key head: such a task owns the key head and its query heads.
template <class Fn>
Status for_key_heads(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     Progress* progress, const Fn& fn) {
  const int64_t kv_heads = model.config().kv_heads;
  const auto task = [&](uint32_t index, uint32_t) -> Status {
    const int64_t s = index / kv_heads;
    assert(sequences.first_position(s) == 0);
    if (sequences.length(s) == 0) return {};
    const int64_t row = sequences.start[static_cast<size_t>(s)];
    return fn(Heads(model, block, rope, row, sequences.length(s)), row, index % kv_heads);
  };
  return parallel_for(model.context(), static_cast<uint32_t>(sequences.count() * kv_heads), task, progress);
}

}  // namespace

Status attend(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences, MatrixView p,
              float* a, Progress* progress) {
  const HeadLayout layout = head_layout(model, block);
  const int64_t group = layout.heads / layout.kv_heads, dim = layout.dim, value_dim = layout.value_dim;
  const auto task = [&](const Heads& heads, int64_t row, int64_t kv) -> Status {
    const std::vector<float> k = heads.place(p, layout.k(kv), block.k_norm);
    const std::vector<float> v = heads.copy(p, layout.v(kv), value_dim);
    std::vector<float> scratch(static_cast<size_t>(heads.length()));
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      const std::vector<float> q = heads.place(p, layout.q(h), block.q_norm);
      attention_head(head_shape(model, block, h), q.data(), dim, k.data(), dim, v.data(), value_dim, 0, heads.length(),
                     scratch.data(), a + row * block.o.cols + h * value_dim, block.o.cols);
    }
    return {};
  };
  return for_key_heads(model, block, rope, sequences, progress, task);
}

Status attend_backward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                       MatrixView p, MatrixView da, float* dp, Progress* progress) {
  const HeadLayout layout = head_layout(model, block);
  const int64_t group = layout.heads / layout.kv_heads, value_dim = layout.value_dim;
  const auto task = [&](const Heads& heads, int64_t, int64_t kv) -> Status {
    const std::vector<float> k = heads.place(p, layout.k(kv), block.k_norm);
    const std::vector<float> v = heads.copy(p, layout.v(kv), value_dim);
    std::vector<float> k_gradient(k.size()), v_gradient(v.size()), q_gradient(k.size());
    HeadBackward backward(model.context(), heads.view(k), heads.view(v), k_gradient.data(), v_gradient.data());
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      const std::vector<float> q = heads.place(p, layout.q(h), block.q_norm);
      const std::vector<float> dout = heads.copy(da, h * value_dim, value_dim);
      QZ_TRY(backward.run(head_shape(model, block, h), heads.view(q), heads.view(dout), q_gradient.data()));
      heads.put_placed(q_gradient, p, layout.q(h), block.q_norm, dp);
    }
    heads.put_placed(std::move(k_gradient), p, layout.k(kv), block.k_norm, dp);
    heads.put(v_gradient, layout.width, layout.v(kv), dp);
    return {};
  };
  return for_key_heads(model, block, rope, sequences, progress, task);
}

}  // namespace qz
