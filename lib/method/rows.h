// Loops over the rows of a matrix on the pool, in fixed pieces: the same bits for any number of threads.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include "base/checked.h"
#include "base/context.h"

namespace qz {

constexpr int64_t kRowsOfTask = 64;

// f(row) for all rows.
template <class F>
Status for_each_row(const Context& context, int64_t rows, const F& f) {
  return parallel_for(context, static_cast<uint32_t>(ceil_div(rows, kRowsOfTask)), [&](uint32_t task, uint32_t) {
    for (int64_t r = task * kRowsOfTask; r < std::min<int64_t>(rows, (task + 1) * kRowsOfTask); r++) f(r);
    return Status();
  });
}

// The sum of f(row), added in the order of the rows.
template <class F>
Result<double> sum_over_rows(const Context& context, int64_t rows, const F& f) {
  std::vector<double> sums(static_cast<size_t>(rows));
  QZ_TRY(for_each_row(context, rows, [&](int64_t r) { sums[static_cast<size_t>(r)] = f(r); }));
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace qz
