// Loops over rows on the pool, in fixed pieces: the same bits for any number of threads.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include "base/checked.h"
#include "base/context.h"

namespace qz {

// f(first, end) for all rows, `piece` of them at a time.
template <class F>
Status for_rows(const Context& context, int64_t rows, const F& f, int64_t piece = 16) {
  return parallel_for(context, static_cast<uint32_t>(ceil_div(rows, piece)), [&](uint32_t index, uint32_t) {
    const int64_t first = static_cast<int64_t>(index) * piece;
    f(first, std::min(rows, first + piece));
    return Status();
  });
}

// f(row) for all rows.
template <class F>
Status for_each_row(const Context& context, int64_t rows, const F& f, int64_t piece = 64) {
  const auto all = [&](int64_t first, int64_t end) {
    for (int64_t r = first; r < end; r++) f(r);
  };
  return for_rows(context, rows, all, piece);
}

// The sum of f(row), added in the order of the rows.
template <class F>
Result<double> sum_over_rows(const Context& context, int64_t rows, const F& f) {
  std::vector<double> sums(static_cast<size_t>(rows));
  QZ_TRY(for_each_row(context, rows, [&](int64_t r) { sums[static_cast<size_t>(r)] = f(r); }));
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace qz
