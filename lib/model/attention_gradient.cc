#include "model/attention_gradient.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "kernels/gradients.h"

namespace qz {
namespace {

// Queries whose scores are in memory at once.
constexpr int64_t kQueryBlock = 64;

// The heads of one sequence, copied out of the projections so that each is dense: [length][head_dim].
class Heads {
 public:
  Heads(const Model& model, const RopeTable& rope, int64_t row, int64_t length)
      : rope_(rope),
        eps_(static_cast<float>(model.config().norm_eps)),
        dim_(model.config().head_dim),
        row_(row),
        length_(length) {}

  int64_t size() const { return length_ * dim_; }
  MatrixView view(const std::vector<float>& head) const { return {head.data(), length_, dim_, dim_}; }

  std::vector<float> copy(MatrixView source, int64_t head) const {
    std::vector<float> out(static_cast<size_t>(size()));
    for (int64_t t = 0; t < length_; ++t) std::copy_n(source.row(row_ + t) + head * dim_, dim_, out.data() + t * dim_);
    return out;
  }

  // The same after the head's norm and rotation.
  std::vector<float> place(MatrixView source, int64_t head, const NormWeights& norm) const {
    std::vector<float> out = copy(source, head);
    for (int64_t t = 0; t < length_; ++t) {
      float* row = out.data() + t * dim_;
      if (!norm.weight.empty()) rms_norm(row, norm.weight.data(), eps_, dim_, row);
      if (rope_.half > 0) rope_rotate(row, rope_.half, cos(t), sin(t));
    }
    return out;
  }

  // The gradient at a copied head, to where the head came from.
  void put(const std::vector<float>& gradient, int64_t width, int64_t head, float* target) const {
    for (int64_t t = 0; t < length_; ++t) {
      std::copy_n(gradient.data() + t * dim_, dim_, target + (row_ + t) * width + head * dim_);
    }
  }

  // The gradient at a placed head, back through rotation and norm.
  void put_placed(std::vector<float> gradient, MatrixView source, int64_t head, const NormWeights& norm,
                  float* target) const {
    std::vector<float> before(norm.weight.size());
    for (int64_t t = 0; t < length_; ++t) {
      float* g = gradient.data() + t * dim_;
      if (rope_.half > 0) rotate_back(g, cos(t), sin(t));
      if (norm.weight.empty()) continue;
      std::fill(before.begin(), before.end(), 0.0f);
      const float* x = source.row(row_ + t) + head * dim_;
      rms_norm_gradient(x, norm.weight.data(), eps_, dim_, g, before.data());
      std::copy(before.begin(), before.end(), g);
    }
    put(gradient, source.cols, head, target);
  }

 private:
  const float* cos(int64_t position) const { return rope_.cos.data() + position * rope_.half; }
  const float* sin(int64_t position) const { return rope_.sin.data() + position * rope_.half; }

  // The transpose of rope_rotate (not the inverse: yarn's tables are scaled).
  void rotate_back(float* g, const float* cosine, const float* sine) const {
    for (int64_t i = 0; i < rope_.half; ++i) {
      const float a = g[i], b = g[i + rope_.half];
      g[i] = a * cosine[i] + b * sine[i];
      g[i + rope_.half] = b * cosine[i] - a * sine[i];
    }
  }

  const RopeTable& rope_;
  const float eps_;
  const int64_t dim_, row_, length_;
};

// One query head against its keys and values: dq = ..., dk += ..., dv += ....
class HeadBackward {
 public:
  HeadBackward(const Context& context, MatrixView k, MatrixView v, float scale, int64_t window, float* dk, float* dv)
      : context_(context),
        k_(k),
        v_(v),
        scale_(scale),
        window_(window),
        dk_(dk),
        dv_(dv),
        p_(static_cast<size_t>(kQueryBlock * k.rows)),
        dp_(p_.size()) {}

  Status run(MatrixView q, MatrixView dout, float* dq) {
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
    const int64_t begin = window_ > 0 ? std::max<int64_t>(first - window_ + 1, 0) : 0;  // keys [begin, end) are seen
    const int64_t keys = end - begin, dim = q_all.cols;
    const MatrixView q = part(q_all, first, end), dout = part(dout_all, first, end);
    const MatrixView k = part(k_, begin, end), v = part(v_, begin, end);
    QZ_TRY(scores(q, k, p_.data()));
    QZ_TRY(scores(dout, v, dp_.data()));
    for (int64_t i = 0; i < q.rows; ++i) {
      float *p = p_.data() + i * keys, *dp = dp_.data() + i * keys;
      const int64_t stop = first + i + 1 - begin;  // row i sees columns [start, stop)
      const int64_t start = window_ > 0 ? std::max<int64_t>(stop - window_, 0) : 0;
      for (int64_t j = start; j < stop; ++j) p[j] *= scale_;
      softmax(p + start, stop - start);
      softmax_gradient(p + start, stop - start, dp + start);
      for (float* row : {p, dp}) {
        std::fill(row, row + start, 0.0f);
        std::fill(row + stop, row + keys, 0.0f);
      }
    }
    const MatrixView p{p_.data(), q.rows, keys, keys}, ds{dp_.data(), q.rows, keys, keys};
    QZ_TRY(gemm_nn(context_, ds, k, scale_, dq + first * dim, dim));
    QZ_TRY(gemm_tn(context_, ds, q, scale_, false, dk_ + begin * dim, dim));
    return gemm_tn(context_, p, dout, 1.0f, false, dv_ + begin * dim, dim);
  }

  const Context& context_;
  const MatrixView k_, v_;
  const float scale_;
  const int64_t window_;
  float *dk_, *dv_;
  std::vector<float> p_, dp_;  // softmax of the scores of a query block, and the gradients there
};

float score_scale(const ModelConfig& c) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim))); }

// fn(heads, kv_head) for every sequence and key head: such a task owns the key head and its query heads.
template <class Fn>
Status for_key_heads(const Model& model, const RopeTable& rope, const Sequences& sequences, Progress* progress,
                     const Fn& fn) {
  const int64_t kv_heads = model.config().kv_heads;
  const auto task = [&](uint32_t index, uint32_t) -> Status {
    const int64_t s = index / kv_heads;
    assert(sequences.first_position(s) == 0);
    if (sequences.length(s) == 0) return {};
    const int64_t row = sequences.start[static_cast<size_t>(s)];
    return fn(Heads(model, rope, row, sequences.length(s)), row, index % kv_heads);
  };
  return parallel_for(model.context(), static_cast<uint32_t>(sequences.count() * kv_heads), task, progress);
}

}  // namespace

Status attend(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
              const Projections& p, float* a, Progress* progress) {
  const ModelConfig& c = model.config();
  const int64_t group = c.heads / c.kv_heads, dim = c.head_dim, window = c.window[static_cast<size_t>(block.layer)];
  const auto task = [&](const Heads& heads, int64_t row, int64_t kv) -> Status {
    const std::vector<float> k = heads.place(p.k, kv, block.k_norm), v = heads.copy(p.v, kv);
    const int64_t length = heads.size() / dim;
    std::vector<float> scratch(static_cast<size_t>(length));
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      const std::vector<float> q = heads.place(p.q, h, block.q_norm);
      attention_head(q.data(), dim, k.data(), v.data(), dim, 0, length, dim, score_scale(c), window, scratch.data(),
                     a + row * p.q.cols + h * dim, p.q.cols);
    }
    return {};
  };
  return for_key_heads(model, rope, sequences, progress, task);
}

Status attend_backward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                       const Projections& p, MatrixView da, float* dq, float* dk, float* dv, Progress* progress) {
  const ModelConfig& c = model.config();
  const int64_t group = c.heads / c.kv_heads, window = c.window[static_cast<size_t>(block.layer)];
  const auto task = [&](const Heads& heads, int64_t, int64_t kv) -> Status {
    const std::vector<float> k = heads.place(p.k, kv, block.k_norm), v = heads.copy(p.v, kv);
    std::vector<float> k_gradient(k.size()), v_gradient(k.size()), q_gradient(k.size());
    HeadBackward backward(model.context(), heads.view(k), heads.view(v), score_scale(c), window, k_gradient.data(),
                          v_gradient.data());
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      const std::vector<float> q = heads.place(p.q, h, block.q_norm), dout = heads.copy(da, h);
      QZ_TRY(backward.run(heads.view(q), heads.view(dout), q_gradient.data()));
      heads.put_placed(q_gradient, p.q, h, block.q_norm, dq);
    }
    heads.put_placed(std::move(k_gradient), p.k, kv, block.k_norm, dk);
    heads.put(v_gradient, p.v.cols, kv, dv);
    return {};
  };
  return for_key_heads(model, rope, sequences, progress, task);
}

}  // namespace qz
