// The feed-forward half of a block, gated (down(act(gate x) * up x)) or plain (down(act(up x))).
#include <algorithm>
#include <cassert>

#include "kernels/ops.h"
#include "model/experts.h"
#include "model/scratch.h"

namespace qz {

Status mlp_input(const Model& model, const Block& block, MatrixView r, float* x) {
  return norm_rows(model, model.config().norm_first ? block.mlp_norm : NormWeights(), r, x);
}

namespace {

// Rows of gate and up that are in memory beside m.
constexpr int64_t kGateRows = 2048;

// m = act(gate) * up from a fused layer, whose rows give gate, then up.
Status mix_fused(const Model& model, const Linear& gate_up, MatrixView x, float* m, Progress* progress) {
  const int64_t width = gate_up.rows / 2;
  Scratch both(std::min(x.rows, kGateRows) * gate_up.rows);
  for (int64_t row = 0; row < x.rows; row += kGateRows) {
    const int64_t rows = std::min(kGateRows, x.rows - row);
    QZ_TRY(gate_up.apply(model.context(), {x.row(row), rows, x.cols, x.stride}, false, both.data(), progress));
    QZ_TRY(for_rows(model.context(), rows, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; ++i) {
        const float* y = both.data() + i * gate_up.rows;
        activate_gate(model.config().activation, y, y + width, width, m + (row + i) * width);
      }
    }));
  }
  return {};
}

}  // namespace

Status feed_mix(const Model& model, const Feed& feed, MatrixView x, float* m, Progress* progress) {
  const Context& context = model.context();
  const Activation kind = model.config().activation;
  if (feed.gate_up.present()) return mix_fused(model, feed.gate_up, x, m, progress);
  const int64_t width = feed.up.rows;
  QZ_TRY(feed.up.apply(context, x, false, m, progress));
  if (!feed.gate.present()) {
    return for_rows(context, x.rows, [&](int64_t first, int64_t end) {
      activate(kind, m + first * width, (end - first) * width, m + first * width);
    });
  }
  Scratch gate(std::min(x.rows, kScratchRows) * width);
  for (int64_t row = 0; row < x.rows; row += kScratchRows) {
    const int64_t rows = std::min(kScratchRows, x.rows - row);
    QZ_TRY(feed.gate.apply(context, {x.row(row), rows, x.cols, x.stride}, false, gate.data(), progress));
    QZ_TRY(for_rows(context, rows, [&](int64_t first, int64_t end) {
      float* out = m + (row + first) * width;
      activate_gate(kind, gate.data() + first * width, out, (end - first) * width, out);
    }));
  }
  return {};
}

Status mlp_mix(const Model& model, const Block& block, MatrixView x, float* m, Progress* progress) {
  return feed_mix(model, block.mlp, x, m, progress);
}

Status mlp_output(const Model& model, const Block& block, MatrixView x, MatrixView m, float* r, Progress* progress) {
  return add_half(model, block.mlp_norm, block.mlp_post_norm, m.rows, r, [&](float* y) -> Status {
    if (!block.mixture()) return block.mlp.down.apply(model.context(), m, true, y, progress);
    if (block.mlp.down.present()) QZ_TRY(add_shared(model, block, x, m, y, progress));
    return add_experts(model, block, x, y, progress);
  });
}

Status mlp_add(const Model& model, const Block& block, MatrixView y, float* r) {
  return add_half(model, block.mlp_norm, block.mlp_post_norm, y.rows, r, [&](float* out) {
    for (int64_t i = 0; i < y.rows * y.cols; ++i) out[i] += y.data[i];
    return Status();
  });
}

}  // namespace qz
