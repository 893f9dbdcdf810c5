// The feed-forward half of a block, gated (down(act(gate x) * up x)) or plain (down(act(up x))).
#include <algorithm>
#include <cassert>

#include "kernels/ops.h"
#include "model/block.h"
#include "model/scratch.h"

namespace qz {

Status mlp_input(const Model& model, const Block& block, MatrixView r, float* x) {
  return norm_rows(model, model.config().norm_first ? block.mlp_norm : NormWeights(), r, x);
}

Status mlp_mix(const Model& model, const Block& block, MatrixView x, float* m, Progress* progress) {
  const Context& context = model.context();
  const Activation kind = model.config().activation;
  const int64_t width = block.up.rows;
  QZ_TRY(block.up.apply(context, x, false, m, progress));
  if (!block.gate.present()) {
    return for_rows(context, x.rows, [&](int64_t first, int64_t end) {
      activate(kind, m + first * width, (end - first) * width, m + first * width);
    });
  }
  Scratch gate(std::min(x.rows, kScratchRows) * width);
  for (int64_t row = 0; row < x.rows; row += kScratchRows) {
    const int64_t rows = std::min(kScratchRows, x.rows - row);
    QZ_TRY(block.gate.apply(context, {x.row(row), rows, x.cols, x.stride}, false, gate.data(), progress));
    QZ_TRY(for_rows(context, rows, [&](int64_t first, int64_t end) {
      float* out = m + (row + first) * width;
      activate_gate(kind, gate.data() + first * width, out, (end - first) * width, out);
    }));
  }
  return {};
}

Status mlp_output(const Model& model, const Block& block, MatrixView m, float* r, Progress* progress) {
  QZ_TRY(block.down.apply(model.context(), m, true, r, progress));
  if (model.config().norm_first) return {};
  return norm_rows(model, block.mlp_norm, {r, m.rows, block.down.rows, block.down.rows}, r);
}

}  // namespace qz
