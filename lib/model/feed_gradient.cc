#include "model/feed_gradient.h"

#include "kernels/gradients.h"
#include "model/scratch.h"

namespace qz {

Status backward_linear(const Context& context, const RoleSink& sink, Role role, const Linear& linear, MatrixView g,
                       float* dx, Progress* progress) {
  QZ_TRY(sink(role, g));
  const Matrix w = linear.to_f32();
  return gemm_nn(context, g, w.view(), 1.0f, dx, w.cols(), progress);
}

Status FeedBackward::forward(MatrixView x) {
  const Context& context = model_.context();
  if (feed_.gate_up.present()) {
    h_ = Matrix(x.rows, feed_.gate_up.rows);
    return feed_.gate_up.apply(context, x, false, h_.data(), progress_);
  }
  const int64_t width = feed_.up.rows, gates = feed_.gate.present() ? width : 0;
  h_ = Matrix(x.rows, gates + width);
  if (gates > 0) QZ_TRY(feed_.gate.apply_strided(context, x, false, h_.data(), h_.cols(), progress_));
  return feed_.up.apply_strided(context, x, false, h_.data() + gates, h_.cols(), progress_);
}

Status FeedBackward::mix(float* m) const {
  const int64_t width = feed_.down.cols;
  const Activation kind = model_.config().activation;
  return for_rows(model_.context(), h_.rows(), [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      const float* row = h_.row(i);
      if (h_.cols() == width) {
        activate(kind, row, width, m + i * width);
      } else {
        activate_gate(kind, row, row + width, width, m + i * width);
      }
    }
  });
}

Status FeedBackward::output(float* y) const {
  Scratch m(h_.rows() * feed_.down.cols);
  QZ_TRY(mix(m.data()));
  return feed_.down.apply(model_.context(), m.view(h_.rows(), feed_.down.cols), false, y, progress_);
}

Status FeedBackward::backward(MatrixView g, float* dx) {
  const Context& context = model_.context();
  const Activation kind = model_.config().activation;
  const int64_t width = feed_.down.cols, gates = h_.cols() - width;
  Matrix dm(g.rows, width);
  QZ_TRY(backward_linear(context, sink_, Role::kDown, feed_.down, g, dm.data(), progress_));
  // The gradients take the place of the activations.
  QZ_TRY(for_rows(context, g.rows, [&](int64_t first, int64_t end) {
    std::vector<float> value(static_cast<size_t>(width)), slope(value.size());
    for (int64_t i = first; i < end; ++i) {
      float *gate = h_.row(i), *up = gate + gates;
      const float* d = dm.row(i);
      activate_gradient(kind, gate, width, slope.data());
      if (gates == 0) {
        for (int64_t j = 0; j < width; ++j) up[j] = d[j] * slope[static_cast<size_t>(j)];
        continue;
      }
      activate(kind, gate, width, value.data());
      for (int64_t j = 0; j < width; ++j) {
        gate[j] = d[j] * up[j] * slope[static_cast<size_t>(j)];
        up[j] = d[j] * value[static_cast<size_t>(j)];
      }
    }
  }));
  if (feed_.gate_up.present()) {
    QZ_TRY(backward_linear(context, sink_, Role::kGateUp, feed_.gate_up, h_.view(), dx, progress_));
  } else {
    const MatrixView up{h_.data() + gates, h_.rows(), width, h_.cols()};
    const MatrixView gate{h_.data(), h_.rows(), width, h_.cols()};
    QZ_TRY(backward_linear(context, sink_, Role::kUp, feed_.up, up, dx, progress_));
    if (gates > 0) QZ_TRY(backward_linear(context, sink_, Role::kGate, feed_.gate, gate, dx, progress_));
  }
  h_ = Matrix();
  return {};
}

}  // namespace qz
