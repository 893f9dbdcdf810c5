// Round to nearest: the method that everything else must beat.
#pragma once
#include "base/context.h"
#include "method/range.h"
#include "packed/qmatrix.h"

namespace qz {

// w: [rows][cols]. Scales from minimum and maximum, of any scheme that check_method allows. scheme.scale must be set.
Result<QMatrix> rtn(const Context& context, MatrixView w, const Scheme& scheme, int32_t min_zero);

// The canonical matrix from what a solver found in group order. natural: the natural column of each position, when
// groups run over permuted columns (g_idx); empty: group order is natural order.
QMatrix assemble(int64_t rows, int64_t cols, const Scheme& scheme, const Grid& grid, const std::vector<uint8_t>& codes,
                 const std::vector<int32_t>& natural);

}  // namespace qz
