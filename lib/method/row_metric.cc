#include "method/row_metric.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/checked.h"
#include "method/cholesky.h"

namespace qz {
namespace {

Status make_chain(const Context& context, MatrixView g, int64_t first, int64_t rows, double add,
                  RowMetric::Chain* chain) {
  chain->rows = rows;
  chain->order.resize(static_cast<size_t>(rows));
  std::iota(chain->order.begin(), chain->order.end(), static_cast<int32_t>(first));
  std::stable_sort(chain->order.begin(), chain->order.end(),
                   [&](int32_t a, int32_t b) { return g.row(a)[a - first] < g.row(b)[b - first]; });
  chain->weight = Matrix(rows, rows);
  chain->ahead = Matrix(rows, rows);
  Matrix lower(rows, rows);
  for (int attempt = 0;; attempt++, add *= 10) {
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t s = 0; s < rows; s++)
        lower.row(r)[s] = g.row(chain->order[static_cast<size_t>(r)])[chain->order[static_cast<size_t>(s)] - first];
      lower.row(r)[r] += static_cast<float>(add);
    }
    for (int64_t r = 0; r < rows; r++)
      for (int64_t s = 0; s < rows; s++) chain->weight.row(r)[s] = lower.row(r)[s] / lower.row(r)[r];
    QZ_ASSIGN(const int64_t done, cholesky(context, rows, lower.data()));
    if (done == rows) break;
    if (attempt == 6)
      return error(Code::kNumeric, "the output metric of rows %lld to %lld is not positive definite",
                   static_cast<long long>(first), static_cast<long long>(first + rows));
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t s = r + 1; s < rows; s++) chain->ahead.row(r)[s] = lower.row(s)[r] / lower.row(r)[r];
  return {};
}

}  // namespace

Result<RowMetric> make_row_metric(const Context& context, MatrixView g, double ridge) {
  RowMetric metric;
  if (g.rows == 0) return metric;
  double trace = 0, sum = 0;
  for (int64_t r = 0; r < g.rows; r++) {
    trace += static_cast<double>(g.row(r)[r % g.cols]);
    for (int64_t c = 0; c < g.cols; c++) sum += static_cast<double>(std::fabs(g.row(r)[c]));
  }
  if (!std::isfinite(sum)) return error(Code::kNumeric, "the output metric has NaN or infinity");
  if (!(trace > 0)) return metric;  // no gradient reaches this module: nothing tells its rows apart
  const double add = ridge * trace / static_cast<double>(g.rows);
  metric.chains.resize(static_cast<size_t>(ceil_div(g.rows, g.cols)));
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(metric.chains.size()), [&](uint32_t i, uint32_t) {
    const int64_t first = i * g.cols;
    return make_chain(context, g, first, std::min(g.cols, g.rows - first), add, &metric.chains[i]);
  }));
  return metric;
}

}  // namespace qz
