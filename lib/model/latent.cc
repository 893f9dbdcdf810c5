#include "model/latent.h"

#include <algorithm>
#include <cassert>

#include "kernels/ops.h"
#include "model/scratch.h"

namespace qz {
namespace {

// The first `width` elements of each row of x, normed.
Status norm_latent(const Model& model, const std::vector<float>& weight, MatrixView x, int64_t width, float* out) {
  return for_rows(model.context(), x.rows, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) rms_norm(x.row(i), weight.data(), kLatentEps, width, out + i * width);
  });
}

}  // namespace

Status latent_input(const Model& model, const Block& block, Role role, MatrixView x, float* out, Progress* progress) {
  const bool query = role == Role::kQB;
  assert(query || role == Role::kKvB);
  const Linear& linear = query ? block.q_a : block.kv_a;
  Scratch y(x.rows * linear.rows);
  QZ_TRY(linear.apply(model.context(), x, false, y.data(), progress));
  const LatentConfig& latent = model.config().latent;
  return norm_latent(model, query ? block.q_a_norm : block.kv_a_norm, y.view(x.rows, linear.rows),
                     query ? latent.q_rank : latent.kv_rank, out);
}

Status latent_project(const Model& model, const Block& block, const HeadLayout& layout, MatrixView x, float* p,
                      Progress* progress) {
  const Context& context = model.context();
  const LatentConfig& latent = model.config().latent;
  if (latent.q_rank == 0) {
    QZ_TRY(block.q.apply_strided(context, x, false, p, layout.width, progress));
  } else {
    Scratch q(x.rows * latent.q_rank);
    QZ_TRY(latent_input(model, block, Role::kQB, x, q.data(), progress));
    QZ_TRY(block.q_b.apply_strided(context, q.view(x.rows, latent.q_rank), false, p, layout.width, progress));
  }
  const int64_t wide = block.kv_a.rows, expanded = block.kv_b.rows, step = latent.plain + layout.value_dim;
  Scratch both(x.rows * wide), kv(x.rows * latent.kv_rank), heads(x.rows * expanded);
  QZ_TRY(block.kv_a.apply(context, x, false, both.data(), progress));
  QZ_TRY(norm_latent(model, block.kv_a_norm, both.view(x.rows, wide), latent.kv_rank, kv.data()));
  QZ_TRY(block.kv_b.apply(context, kv.view(x.rows, latent.kv_rank), false, heads.data(), progress));
  return for_rows(context, x.rows, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      float* row = p + i * layout.width;
      for (int64_t h = 0; h < layout.heads; ++h) {
        const float* from = heads.data() + i * expanded + h * step;
        std::copy_n(from, latent.plain, row + layout.k(h));
        std::copy_n(both.data() + i * wide + latent.kv_rank, latent.rope, row + layout.k(h) + latent.plain);
        std::copy_n(from + latent.plain, layout.value_dim, row + layout.v(h));
      }
    }
  });
}

}  // namespace qz
