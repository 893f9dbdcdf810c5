#include "method/block_gptq.h"

#include <algorithm>
#include <cmath>

#include "method/blocks.h"
#include "method/columns.h"
#include "method/refine.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// The grid and the lattice that the blocks' scales make; `zero` of a group holds its offset too.
Grid grid_of(const BlockCode& block, const QMatrix& q, Lattice* lattice) {
  Grid grid;
  grid.rows = q.rows;
  grid.groups = q.cols / block.part;
  const float zero = block.uniform ? -block.points[0] : 0;
  const size_t blocks = q.codes.size() / static_cast<size_t>(block.bytes);
  for (size_t b = 0; b < blocks; ++b) {
    BlockFields f;
    block.unpack(q.codes.data() + b * static_cast<size_t>(block.bytes), &f);
    if (!lattice->steps.empty()) lattice->steps[b] = f.d;
    if (!lattice->offset_steps.empty()) lattice->offset_steps[b] = f.dmin;
    for (int p = 0; p < block.parts(); ++p) {
      const float scale = f.d * static_cast<float>(f.scales[p]), offset = f.dmin * static_cast<float>(f.mins[p]);
      grid.scale.push_back(scale != 0 && std::isfinite(1 / scale) ? scale : kNoScale);
      grid.inverse.push_back(1 / grid.scale.back());
      grid.zero.push_back(zero + offset / grid.scale.back());
    }
  }
  return grid;
}

// Codes and refitted scales into the blocks.
void store(const BlockCode& block, const Grid& grid, const std::vector<uint8_t>& codes, QMatrix* q) {
  const size_t blocks = q->codes.size() / static_cast<size_t>(block.bytes);
  const size_t elements = static_cast<size_t>(block.elements), parts = static_cast<size_t>(block.parts());
  for (size_t b = 0; b < blocks; ++b) {
    uint8_t* at = q->codes.data() + b * static_cast<size_t>(block.bytes);
    BlockFields f;
    block.unpack(at, &f);
    std::copy_n(codes.data() + b * elements, elements, f.codes);
    for (size_t p = 0; p < parts; ++p) {
      const float scale = grid.scale[b * parts + p];
      if (std::fabs(scale) <= kNoScale) continue;
      const float offset = grid.zero[b * parts + p] * scale;
      if (block.least_scale == block.most_scale)
        f.d = scale;
      else
        f.scales[p] = static_cast<int16_t>(std::nearbyint(scale / f.d));
      if (block.offset == BlockOffset::kOwn) f.dmin = round_to(-offset, DType::kF16);
      if (block.offset == BlockOffset::kFactor && f.dmin != 0)
        f.mins[p] =
            static_cast<int16_t>(std::clamp(static_cast<int32_t>(std::nearbyint(offset / f.dmin)), 0, block.most_min));
    }
    block.pack(f, at);
  }
}

}  // namespace

Result<Solved> block_gptq(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                          const HeldOut& held, const Scheme& scheme, const GptqOptions& options,
                          const RowMetric& metric, Progress* progress) {
  if (options.order == Order::kGidx)
    return error(Code::kUnsupported, "scheme %s has no g_idx; order static needs none", scheme_name(scheme).c_str());
  const BlockCode& block = *find_block_code(scheme.code);
  Solved out;
  QZ_ASSIGN(const Target target, make_target(context, w, factor, stats, held, options, progress));
  out.drift = target.drift;
  out.residual = target.residual;
  const MatrixView t = target.w.view();
  QZ_ASSIGN(out.q, round_to_blocks(context, t, factor.diag.data(), scheme));
  Lattice lattice(block, out.q.codes.size() / static_cast<size_t>(block.bytes));
  Grid grid = grid_of(block, out.q, &lattice);
  QZ_ASSIGN(std::vector<uint8_t> codes,
            solve_columns(context, t, factor, metric, grid, lattice, options.block, progress));
  QZ_TRY(refine(context, t, factor, metric, lattice, options.sweeps, options.refit, &grid, &codes, progress));
  store(block, grid, codes, &out.q);
  return out;
}

}  // namespace qz
