// How much an error in one output row costs given the errors of others: the output metric G of a module, cut into
// chains of rows. The solver minimizes tr(G E H E^T), E = T - Q. With G = identity the rows are independent and this is
// GPTQ's objective; with G = E[g g^T], g the gradient of log-likelihood at the module's output, it is the Kronecker
// approximation of the loss itself (K-FAC, arXiv 1503.05671; for quantization YAQA, arXiv 2505.22988).
#pragma once
#include <vector>

#include "base/context.h"
#include "tensor/matrix.h"

namespace qz {

struct RowMetric {
  struct Chain {
    int64_t rows = 0;
    std::vector<int32_t> order;  // [rows] row of the module at each place of the chain, by rising G[r][r]
    Matrix weight;               // [rows][rows] G[r][r'] / G[r][r], r and r' places in the chain
    Matrix ahead;  // [rows][rows] M[r'][r] / M[r][r] for r' > r, else 0; G = M M^T, M lower: the greedy pass solves the
                   // last row first
  };
  std::vector<Chain> chains;  // empty: identity
  bool identity() const { return chains.empty(); }
};

// g: [rows][block], row r holds G[r][b0 ... b0 + block) with b0 = r / block * block (OutputMetric::g); no data:
// identity. ridge: added to the diagonal, as a fraction of its mean; raised while a chain is not positive definite.
Result<RowMetric> make_row_metric(const Context& context, MatrixView g, double ridge);

}  // namespace qz
