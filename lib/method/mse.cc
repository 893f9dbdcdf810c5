#include "method/mse.h"

#include "method/range.h"
#include "method/rtn.h"

namespace qz {

Result<QMatrix> round_within_range(const Context& context, MatrixView w, const Scheme& scheme, int32_t min_zero) {
  RangeOptions options;
  options.min_zero = min_zero;
  QZ_ASSIGN(const Grid grid, choose_grid(context, w, nullptr, scheme, options));
  return assemble(w.rows, w.cols, scheme, grid, nearest_codes(context, w, grid, scheme), {});
}

}  // namespace qz
