#include "method/gptq.h"

#include "method/columns.h"
#include "method/device_solver.h"
#include "method/range.h"
#include "method/refine.h"
#include "method/rtn.h"
#include "method/target.h"

namespace qz {

Result<Solved> gptq(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                    const HeldOut& held, const Scheme& scheme, const GptqOptions& options, const RowMetric& metric,
                    int32_t min_zero, Progress* progress) {
  Solved out;
  QZ_ASSIGN(Target target, make_target(context, w, factor, stats, held, options, progress));
  out.drift = target.drift;
  out.residual = target.residual;
  const RangeOptions range = {options.search, options.signed_grid, min_zero};
  QZ_ASSIGN(Grid grid, choose_grid(context, target.w.view(), factor.diag.data(), scheme, range));
  const Lattice lattice(scheme, w.cols);
  std::optional<std::vector<uint8_t>> there;
  if (factor.device) {
    QZ_ASSIGN(there, factor.device->columns(target.w.view(), factor, metric, grid, lattice));
  }
  std::vector<uint8_t> codes;
  if (there) {
    codes = std::move(*there);
  } else {
    QZ_ASSIGN(codes, solve_columns(context, target.w.view(), factor, metric, grid, lattice, options.block, progress));
  }
  QZ_TRY(refine(context, target.w.view(), factor, metric, lattice, options.sweeps, options.refit, &grid, &codes,
                progress));
  const bool reordered = options.order == Order::kGidx && scheme.groups(w.cols) > 1;
  out.q = assemble(w.rows, w.cols, scheme, grid, codes, reordered ? factor.natural : std::vector<int32_t>());
  if (options.order == Order::kGidx && !reordered) {  // one group: only the columns go back to their places
    for (int64_t r = 0; r < w.rows; r++)
      for (int64_t c = 0; c < w.cols; c++)
        out.q.codes[static_cast<size_t>(r * w.cols + factor.natural[static_cast<size_t>(c)])] =
            codes[static_cast<size_t>(r * w.cols + c)];
  }
  return out;
}

}  // namespace qz
