#include "model/block_gradient.h"

#include <algorithm>

#include "kernels/gradients.h"
#include "model/attention_gradient.h"
#include "model/experts_gradient.h"
#include "model/latent_gradient.h"
#include "model/scratch.h"

namespace qz {
namespace {

// One half of a block around what it computes, f: stream -> stream + f(norm(stream)), or with post norms
// stream + post(f(norm(stream))), or norm(stream + f(stream)).
class Half {
 public:
  Half(const Model& model, const NormWeights& norm, const NormWeights& post)
      : model_(model), norm_(norm), post_(post), first_(model.config().norm_first) {}

  // x = what f reads.
  Status input(MatrixView stream, float* x) const {
    return norm_rows(model_, first_ ? norm_ : NormWeights(), stream, x);
  }

  // y = f(x) is kept where the backward pass needs it; out = the stream after this half.
  Status output(MatrixView stream, Matrix y, Matrix* out) {
    *out = Matrix(stream.rows, stream.cols);
    const bool normed = first_ && model_.config().residual_normed;
    QZ_TRY(norm_rows(model_, normed ? norm_ : NormWeights(), stream, out->data()));
    if (!post_.weight.empty()) {
      y_ = std::move(y);
      y = Matrix(stream.rows, stream.cols);
      QZ_TRY(norm_rows(model_, post_, y_.view(), y.data()));
    }
    add(y.data(), out);
    if (first_) return {};
    sum_ = *out;
    return norm_rows(model_, norm_, sum_.view(), out->data());
  }

  // g: the gradient at the stream after this half. inside(dy, dx): dy the gradient at f's output, dx += the one at its
  // input. out += the gradient at the stream before.
  template <class Inside>
  Status backward(MatrixView stream, MatrixView g, const Inside& inside, float* out) const {
    Matrix at_sum(g.rows, g.cols);  // the gradient where f's result is added
    QZ_TRY(norm_rows_gradient(model_, first_ ? NormWeights() : norm_, first_ ? g : sum_.view(), g.data, at_sum.data()));
    Matrix dy(g.rows, g.cols), dx(g.rows, g.cols);
    QZ_TRY(norm_rows_gradient(model_, post_, post_.weight.empty() ? g : y_.view(), at_sum.data(), dy.data()));
    QZ_TRY(inside(dy.view(), dx.data()));
    if (first_ && model_.config().residual_normed) {
      add(at_sum.data(), &dx);
      return norm_rows_gradient(model_, norm_, stream, dx.data(), out);
    }
    QZ_TRY(norm_rows_gradient(model_, NormWeights(), stream, at_sum.data(), out));
    return norm_rows_gradient(model_, first_ ? norm_ : NormWeights(), stream, dx.data(), out);
  }

 private:
  static void add(const float* x, Matrix* out) {
    for (int64_t i = 0; i < out->rows() * out->cols(); ++i) out->data()[i] += x[i];
  }

  const Model& model_;
  const NormWeights &norm_, &post_;
  const bool first_;
  Matrix y_, sum_;
};

class BlockBackward {
 public:
  BlockBackward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences, MatrixView r,
                const RoleSink& sink, Progress* progress)
      : model_(model),
        context_(model.context()),
        parallel_(model.config().parallel),
        block_(block),
        rope_(rope),
        sequences_(sequences),
        r_(r),
        sink_(sink),
        progress_(progress),
        attention_(model, block.attn_norm, block.attn_post_norm),
        mlp_(model, block.mlp_norm, block.mlp_post_norm),
        feed_(model, block.mlp, sink, progress),
        mixture_(model, block, sink, progress) {}

  Status forward() {
    Matrix x(r_.rows, r_.cols);
    QZ_TRY(attention_.input(r_, x.data()));
    p_ = Matrix(r_.rows, head_layout(model_, block_).width);
    QZ_TRY(attention_project(model_, block_, x.view(), p_.data(), progress_));
    Matrix a(r_.rows, block_.o.cols), y(r_.rows, r_.cols);
    QZ_TRY(attend(model_, block_, rope_, sequences_, p_.view(), a.data(), progress_));
    QZ_TRY(block_.o.apply(context_, a.view(), false, y.data(), progress_));
    QZ_TRY(attention_.output(r_, std::move(y), &between_));
    QZ_TRY(mlp_.input(parallel_ ? r_ : between_.view(), x.data()));
    QZ_TRY(block_.mixture() ? mixture_.forward(x.view()) : feed_.forward(x.view()));
    if (model_.config().norm_first && block_.mlp_post_norm.weight.empty()) return {};  // nothing reads what follows
    Matrix z(r_.rows, r_.cols), after;
    QZ_TRY(block_.mixture() ? mixture_.output(z.data()) : feed_.output(z.data()));
    return mlp_.output(between_.view(), std::move(z), &after);
  }

  Status backward(float* gradient) {
    const auto feed = [this](MatrixView g, float* dx) {
      return block_.mixture() ? mixture_.backward(g, dx) : feed_.backward(g, dx);
    };
    const auto attention = [this](MatrixView g, float* dx) { return backward_attention(g, dx); };
    const MatrixView g{gradient, r_.rows, r_.cols, r_.cols};
    Matrix before(r_.rows, r_.cols), middle(r_.rows, r_.cols);
    if (parallel_) {  // both halves add to the same stream and read it; the addition itself counts once
      QZ_TRY(mlp_.backward(r_, g, feed, middle.data()));
      QZ_TRY(attention_.backward(r_, g, attention, before.data()));
      for (int64_t i = 0; i < r_.rows * r_.cols; ++i) before.data()[i] += middle.data()[i] - gradient[i];
    } else {
      QZ_TRY(mlp_.backward(between_.view(), g, feed, middle.data()));
      between_ = Matrix();
      QZ_TRY(attention_.backward(r_, middle.view(), attention, before.data()));
    }
    std::copy_n(before.data(), r_.rows * r_.cols, gradient);
    return {};
  }

 private:
  Status backward_attention(MatrixView g, float* dx) const {
    Matrix da(g.rows, block_.o.cols), dp(p_.rows(), p_.cols());
    QZ_TRY(backward_linear(context_, sink_, Role::kO, block_.o, g, da.data(), progress_));
    QZ_TRY(attend_backward(model_, block_, rope_, sequences_, p_.view(), da.view(), dp.data(), progress_));
    if (block_.kv_a.present()) {
      Matrix x(r_.rows, r_.cols);
      QZ_TRY(attention_.input(r_, x.data()));
      return latent_backward(model_, block_, head_layout(model_, block_), x.view(), dp.view(), sink_, dx, progress_);
    }
    if (block_.qkv.present()) {
      return backward_linear(context_, sink_, Role::kQkv, block_.qkv, dp.view(), dx, progress_);
    }
    const HeadLayout layout = head_layout(model_, block_);
    const auto part = [&](int64_t at, const Linear& linear) {
      return MatrixView{dp.data() + at, dp.rows(), linear.rows, dp.cols()};
    };
    QZ_TRY(backward_linear(context_, sink_, Role::kV, block_.v, part(layout.v(0), block_.v), dx, progress_));
    QZ_TRY(backward_linear(context_, sink_, Role::kK, block_.k, part(layout.k(0), block_.k), dx, progress_));
    return backward_linear(context_, sink_, Role::kQ, block_.q, part(layout.q(0), block_.q), dx, progress_);
  }

  const Model& model_;
  const Context& context_;
  const bool parallel_;
  const Block& block_;
  const RopeTable& rope_;
  const Sequences& sequences_;
  const MatrixView r_;
  const RoleSink& sink_;
  Progress* const progress_;

  Half attention_, mlp_;
  FeedBackward feed_;  // one of the two is used
  MixtureBackward mixture_;
  Matrix p_;        // projections
  Matrix between_;  // the stream that the second half adds to
};

}  // namespace

Status block_backward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                      MatrixView r, float* gradient, const RoleSink& sink, Progress* progress) {
  BlockBackward pass(model, block, rope, sequences, r, sink, progress);
  QZ_TRY(pass.forward());
  return pass.backward(gradient);
}

Status norm_rows_gradient(const Model& model, const NormWeights& norm, MatrixView x, const float* dy, float* dx) {
  const auto eps = static_cast<float>(model.config().norm_eps);
  const bool rms = model.arch().norm == NormKind::kRms;
  return for_rows(model.context(), x.rows, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      const float* g = dy + i * x.cols;
      float* out = dx + i * x.cols;
      if (norm.weight.empty()) {
        for (int64_t j = 0; j < x.cols; ++j) out[j] += g[j];
      } else if (rms) {
        rms_norm_gradient(x.row(i), norm.weight.data(), eps, x.cols, g, out);
      } else {
        layer_norm_gradient(x.row(i), norm.weight.data(), eps, x.cols, g, out);
      }
    }
  });
}

}  // namespace qz
