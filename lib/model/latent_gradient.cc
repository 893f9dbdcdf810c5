#include "model/latent_gradient.h"

#include <algorithm>

#include "kernels/gradients.h"
#include "model/scratch.h"

namespace qz {
namespace {

// out[i][0 ... width) += the gradient at the first elements of y's rows, from the one at their norm.
Status norm_backward(const Model& model, const std::vector<float>& weight, const Matrix& y, const Matrix& g,
                     Matrix* out) {
  return for_rows(model.context(), y.rows(), [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      rms_norm_gradient(y.row(i), weight.data(), kLatentEps, g.cols(), g.row(i), out->row(i));
    }
  });
}

}  // namespace

Status latent_backward(const Model& model, const Block& block, const HeadLayout& layout, MatrixView x, MatrixView dp,
                       const RoleSink& sink, float* dx, Progress* progress) {
  const Context& context = model.context();
  const LatentConfig& latent = model.config().latent;
  const MatrixView dq{dp.data + layout.q(0), dp.rows, layout.heads * layout.dim, dp.stride};
  if (latent.q_rank == 0) {
    QZ_TRY(backward_linear(context, sink, Role::kQ, block.q, dq, dx, progress));
  } else {
    Matrix y(x.rows, latent.q_rank), g(x.rows, latent.q_rank), dy(x.rows, latent.q_rank);
    QZ_TRY(block.q_a.apply(context, x, false, y.data(), progress));
    QZ_TRY(backward_linear(context, sink, Role::kQB, block.q_b, dq, g.data(), progress));
    QZ_TRY(norm_backward(model, block.q_a_norm, y, g, &dy));
    QZ_TRY(backward_linear(context, sink, Role::kQA, block.q_a, dy.view(), dx, progress));
  }
  const int64_t step = latent.plain + layout.value_dim;
  Matrix y(x.rows, block.kv_a.rows), dy(x.rows, block.kv_a.rows), heads(x.rows, block.kv_b.rows);
  QZ_TRY(block.kv_a.apply(context, x, false, y.data(), progress));
  QZ_TRY(for_rows(context, x.rows, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      const float* row = dp.row(i);
      for (int64_t h = 0; h < layout.heads; ++h) {
        float* to = heads.row(i) + h * step;
        std::copy_n(row + layout.k(h), latent.plain, to);
        std::copy_n(row + layout.v(h), layout.value_dim, to + latent.plain);
        for (int64_t d = 0; d < latent.rope; ++d) dy.row(i)[latent.kv_rank + d] += row[layout.k(h) + latent.plain + d];
      }
    }
  }));
  Matrix g(x.rows, latent.kv_rank);
  QZ_TRY(backward_linear(context, sink, Role::kKvB, block.kv_b, heads.view(), g.data(), progress));
  QZ_TRY(norm_backward(model, block.kv_a_norm, y, g, &dy));
  return backward_linear(context, sink, Role::kKvA, block.kv_a, dy.view(), dx, progress);
}

}  // namespace qz
