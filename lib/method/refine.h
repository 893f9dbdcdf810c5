// What a greedy pass leaves on the table: coordinate descent over the codes, and the scales fitted to them.
#pragma once
#include <cstdint>
#include <vector>

#include "method/hessian.h"
#include "method/lattice.h"
#include "method/range.h"
#include "method/row_metric.h"

namespace qz {

// `sweeps` times over all groups: (refit) the least-squares scale of the group for its
// codes, and its offset where the lattice has one, then (always) each code
// moved to the best grid point while all others stand still. Minimizes tr(G (T - Q) H (T - Q)^T); never increases it
// but for float32 rounding. target, codes and grid in group order; codes and grid are updated.
Status refine(const Context& context, MatrixView target, const HessianFactor& factor, const RowMetric& metric,
              const Lattice& lattice, int32_t sweeps, bool refit, Grid* grid, std::vector<uint8_t>* codes,
              Progress* progress);

}  // namespace qz
