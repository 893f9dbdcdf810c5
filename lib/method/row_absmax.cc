#include "method/row_absmax.h"

#include <algorithm>

#include "base/checked.h"
#include "base/pool.h"
#include "base/simd.h"
#include "tensor/extremes.h"

namespace qz {

constexpr int64_t kRows = 32;  // rows of one task

namespace {

QZ_SIMD_CLONES
void parts_of_127(const float* w, int64_t n, float inverse, uint8_t* codes) {
  for (int64_t i = 0; i < n; ++i) {
    codes[i] = static_cast<uint8_t>(static_cast<int32_t>(round_even(w[i] * inverse)) + 128);
  }
}

}  // namespace

Result<QMatrix> round_to_row_absmax(const Context& context, MatrixView w, const Scheme& scheme) {
  QMatrix q;
  q.rows = w.rows;
  q.cols = w.cols;
  q.scheme = scheme;
  q.scheme.scale = DType::kF32;
  q.codes.resize(static_cast<size_t>(w.rows * w.cols));
  q.scales.resize(static_cast<size_t>(w.rows));
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(ceil_div(w.rows, kRows)), [&](uint32_t task, uint32_t) {
    for (int64_t r = task * kRows; r < std::min(w.rows, (task + int64_t{1}) * kRows); ++r) {
      const float* row = w.row(r);
      const float most = largest_magnitude(row, w.cols);
      q.scales[static_cast<size_t>(r)] = most;
      parts_of_127(row, w.cols, most > 0 ? 127 / most : 0, q.codes.data() + r * w.cols);
    }
    return Status();
  }));
  return q;
}

}  // namespace qz
