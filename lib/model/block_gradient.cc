#include "model/block_gradient.h"

#include <algorithm>

#include "kernels/gradients.h"
#include "model/attention_gradient.h"
#include "model/scratch.h"

namespace qz {
namespace {

class BlockBackward {
 public:
  BlockBackward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences, MatrixView r,
                const RoleSink& sink, Progress* progress)
      : model_(model),
        context_(model.context()),
        activation_(model.config().activation),
        norm_first_(model.config().norm_first),
        block_(block),
        rope_(rope),
        sequences_(sequences),
        r_(r),
        sink_(sink),
        progress_(progress) {}

  Status forward() {
    Matrix x(r_.rows, r_.cols);
    QZ_TRY(attention_input(model_, block_, r_, x.data()));
    QZ_TRY(apply(block_.q, x, &q_));
    QZ_TRY(apply(block_.k, x, &k_));
    QZ_TRY(apply(block_.v, x, &v_));
    Matrix a(r_.rows, block_.o.cols);
    QZ_TRY(attend(model_, block_, rope_, sequences_, projections(), a.data(), progress_));
    QZ_TRY(add_output(r_, block_.o, a, &attention_sum_));
    Matrix between(r_.rows, r_.cols);  // the stream that the second half reads
    QZ_TRY(norm_rows(model_, norm_first_ ? NormWeights() : block_.attn_norm, attention_sum_.view(), between.data()));
    QZ_TRY(mlp_input(model_, block_, between.view(), x.data()));
    QZ_TRY(apply(block_.up, x, &up_));
    if (block_.gate.present()) QZ_TRY(apply(block_.gate, x, &gate_));
    if (norm_first_) return {};  // only a norm that follows reads the second sum
    Matrix m(r_.rows, block_.down.cols);
    QZ_TRY(for_rows(context_, m.rows(), [&](int64_t first, int64_t end) {
      const int64_t n = (end - first) * m.cols();
      if (gate_.empty()) return activate(activation_, up_.row(first), n, m.row(first));
      activate_gate(activation_, gate_.row(first), up_.row(first), n, m.row(first));
    }));
    return add_output(between.view(), block_.down, m, &mlp_sum_);
  }

  Status backward(float* gradient) {
    const auto mlp = [this](MatrixView g, float* dx) { return backward_mlp(g, dx); };
    const auto attention = [this](MatrixView g, float* dx) { return backward_attention(g, dx); };
    QZ_TRY(backward_half(block_.mlp_norm, attention_sum_.view(), mlp_sum_.view(), mlp, gradient));
    return backward_half(block_.attn_norm, r_, attention_sum_.view(), attention, gradient);
  }

 private:
  Projections projections() const { return {q_.view(), k_.view(), v_.view()}; }

  Status apply(const Linear& linear, const Matrix& x, Matrix* y) const {
    *y = Matrix(x.rows(), linear.rows);
    return linear.apply(context_, x.view(), false, y->data(), progress_);
  }

  // sum = stream + linear(x).
  Status add_output(MatrixView stream, const Linear& linear, const Matrix& x, Matrix* sum) const {
    *sum = Matrix(stream.rows, stream.cols);
    QZ_TRY(norm_rows(model_, NormWeights(), stream, sum->data()));
    return linear.apply(context_, x.view(), true, sum->data(), progress_);
  }

  // Shows g to the sink, then dx += g W.
  Status backward_linear(Role role, MatrixView g, float* dx) const {
    QZ_TRY(sink_(role, g));
    const Matrix w = block_.at(role).to_f32();
    return gemm_nn(context_, g, w.view(), 1.0f, dx, w.cols(), progress_);
  }

  // Half a block, stream -> stream + f(norm(stream)) or norm(stream + f(stream)). inside(g, dx): g at the output of f,
  // dx += the gradient at its input. `sum` is stream + f(…), read if the norm follows.
  template <class Inside>
  Status backward_half(const NormWeights& norm, MatrixView stream, MatrixView sum, const Inside& inside,
                       float* gradient) const {
    const MatrixView g{gradient, stream.rows, stream.cols, stream.cols};
    Matrix dx(stream.rows, stream.cols);
    if (norm_first_) {
      QZ_TRY(inside(g, dx.data()));
      return norm_rows_gradient(model_, norm, stream, dx.data(), gradient);
    }
    Matrix dsum(stream.rows, stream.cols);
    QZ_TRY(norm_rows_gradient(model_, norm, sum, gradient, dsum.data()));
    QZ_TRY(norm_rows(model_, NormWeights(), dsum.view(), gradient));
    QZ_TRY(inside(g, dx.data()));
    return norm_rows_gradient(model_, NormWeights(), stream, dx.data(), gradient);
  }

  Status backward_mlp(MatrixView g, float* dx) {
    Matrix dm(g.rows, block_.down.cols);
    QZ_TRY(backward_linear(Role::kDown, g, dm.data()));
    // The gradients take the place of the activations.
    QZ_TRY(for_rows(context_, g.rows, [&](int64_t first, int64_t end) {
      std::vector<float> value(static_cast<size_t>(dm.cols())), slope(value.size());
      for (int64_t i = first; i < end; ++i) backward_activation(dm.row(i), i, value.data(), slope.data());
    }));
    QZ_TRY(backward_linear(Role::kUp, up_.view(), dx));
    if (!gate_.empty()) QZ_TRY(backward_linear(Role::kGate, gate_.view(), dx));
    up_ = gate_ = Matrix();
    return {};
  }

  void backward_activation(const float* dm, int64_t row, float* value, float* slope) {
    const int64_t n = up_.cols();
    float* up = up_.row(row);
    if (gate_.empty()) {
      activate_gradient(activation_, up, n, slope);
      for (int64_t j = 0; j < n; ++j) up[j] = dm[j] * slope[j];
      return;
    }
    float* gate = gate_.row(row);
    activate(activation_, gate, n, value);
    activate_gradient(activation_, gate, n, slope);
    for (int64_t j = 0; j < n; ++j) {
      gate[j] = dm[j] * up[j] * slope[j];
      up[j] = dm[j] * value[j];
    }
  }

  Status backward_attention(MatrixView g, float* dx) const {
    Matrix da(g.rows, block_.o.cols);
    QZ_TRY(backward_linear(Role::kO, g, da.data()));
    Matrix dq(q_.rows(), q_.cols()), dk(k_.rows(), k_.cols()), dv(v_.rows(), v_.cols());
    QZ_TRY(attend_backward(model_, block_, rope_, sequences_, projections(), da.view(), dq.data(), dk.data(), dv.data(),
                           progress_));
    QZ_TRY(backward_linear(Role::kV, dv.view(), dx));
    QZ_TRY(backward_linear(Role::kK, dk.view(), dx));
    return backward_linear(Role::kQ, dq.view(), dx);
  }

  const Model& model_;
  const Context& context_;
  const Activation activation_;
  const bool norm_first_;
  const Block& block_;
  const RopeTable& rope_;
  const Sequences& sequences_;
  const MatrixView r_;
  const RoleSink& sink_;
  Progress* const progress_;

  Matrix q_, k_, v_, gate_, up_;    // outputs of the linear layers
  Matrix attention_sum_, mlp_sum_;  // the stream plus each half's output, before a norm that follows
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
