#include "method/row_absmax.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/pool.h"

namespace qz {

constexpr int64_t kRows = 32;  // rows of one task

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
      float most = 0;
      for (int64_t c = 0; c < w.cols; ++c) most = std::max(most, std::fabs(row[c]));
      q.scales[static_cast<size_t>(r)] = most;
      const float inverse = most > 0 ? 127 / most : 0;
      uint8_t* codes = q.codes.data() + r * w.cols;
      for (int64_t c = 0; c < w.cols; ++c) codes[c] = static_cast<uint8_t>(128 + std::nearbyint(row[c] * inverse));
    }
    return Status();
  }));
  return q;
}

}  // namespace qz
