// The GPTQ loop: codes column by column, each column's rounding error carried to the columns still open.
#pragma once
#include <cstdint>
#include <vector>

#include "method/hessian.h"
#include "method/lattice.h"
#include "method/range.h"
#include "method/row_metric.h"

namespace qz {

// target: [rows][cols] in group order. Returns codes [rows][cols] in group order. `block` columns are solved between
// two products. Rows of one chain of `metric` also carry their errors to the rows still open.
Result<std::vector<uint8_t>> solve_columns(const Context& context, MatrixView target, const HessianFactor& factor,
                                           const RowMetric& metric, const Grid& grid, const Lattice& lattice,
                                           int64_t block, Progress* progress);

}  // namespace qz
