#include "method/weight_error.h"

#include <algorithm>
#include <vector>

#include "base/checked.h"
#include "base/pool.h"
#include "base/simd.h"

namespace qz {
namespace {

constexpr int64_t kRows = 16;  // rows of one task
constexpr int kSums = 32;      // partial sums: the same order whatever the vector width

// Of one row: a lane adds few enough numbers for float32.
QZ_SIMD_CLONES
void add_squares(const float* w, const float* wq, int64_t n, double* error, double* total) {
  float errors[kSums] = {}, totals[kSums] = {};
  int64_t c = 0;
  for (; c + kSums <= n; c += kSums)
    for (int l = 0; l < kSums; ++l) {
      const float v = w[c + l], d = v - wq[c + l];
      errors[l] += d * d;
      totals[l] += v * v;
    }
  for (int l = 0; c < n; ++c, ++l) {
    const float v = w[c], d = v - wq[c];
    errors[l] += d * d;
    totals[l] += v * v;
  }
  for (int l = 0; l < kSums; ++l) *error += static_cast<double>(errors[l]), *total += static_cast<double>(totals[l]);
}

}  // namespace

Result<double> weight_error(const Context& context, MatrixView w, const QMatrix& q) {
  struct Sums {
    double error = 0, total = 0;
  };
  std::vector<Sums> tasks(static_cast<size_t>(ceil_div(w.rows, kRows)));
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(tasks.size()), [&](uint32_t task, uint32_t) {
    std::vector<float> row(static_cast<size_t>(w.cols));
    for (int64_t r = task * kRows; r < std::min(w.rows, (task + int64_t{1}) * kRows); ++r) {
      dequantize_row(q, r, row.data());
      add_squares(w.row(r), row.data(), w.cols, &tasks[task].error, &tasks[task].total);
    }
    return Status();
  }));
  Sums all;
  for (const Sums& s : tasks) all.error += s.error, all.total += s.total;
  return all.total > 0 ? all.error / all.total : 0.0;
}

}  // namespace qz
