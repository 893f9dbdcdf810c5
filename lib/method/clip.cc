#include "method/clip.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/gemm.h"
#include "method/range.h"
#include "method/rtn.h"

namespace qz {
namespace {

constexpr int kShrinks = 10;    // of a range that is at least half as wide
constexpr float kStep = 0.05f;  // 1 / AutoAWQ's n_grid

// Columns [first, first + cols) of w, each row within +-bound times its largest magnitude there.
Matrix clipped(MatrixView w, int64_t first, int64_t cols, float bound) {
  Matrix out(w.rows, cols);
  for (int64_t r = 0; r < w.rows; ++r) {
    const float* from = w.row(r) + first;
    float most = 0;
    for (int64_t c = 0; c < cols; ++c) most = std::max(most, std::fabs(from[c]));
    for (int64_t c = 0; c < cols; ++c) out.row(r)[c] = std::clamp(from[c], -bound * most, bound * most);
  }
  return out;
}

}  // namespace

Result<QMatrix> rtn_clipped(const Context& context, MatrixView w, MatrixView h, const Scheme& scheme,
                            int32_t min_zero) {
  if (!scheme.is_grid() || scheme.group == kGroupTensor) return rtn(context, w, scheme, min_zero);
  RangeOptions options;
  options.search = false;
  options.min_zero = min_zero;
  Scheme one = scheme;
  one.group = kGroupRow;
  const int64_t groups = scheme.groups(w.cols), size = scheme.group_size(w.cols);
  Grid best;
  best.rows = w.rows, best.groups = groups;
  best.scale.resize(static_cast<size_t>(w.rows * groups));
  best.inverse = best.zero = best.scale;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t first = g * size, cols = std::min(size, w.cols - first);
    const MatrixView part{w.data + first, w.rows, cols, w.stride};
    const MatrixView gram{h.data + first * h.stride + first, cols, cols, h.stride};
    std::vector<double> least(static_cast<size_t>(w.rows), std::numeric_limits<double>::infinity());
    for (int i = 0; i < kShrinks; ++i) {
      const Matrix narrow = clipped(w, first, cols, 1 - kStep * static_cast<float>(i));
      QZ_ASSIGN(const Grid grid, choose_grid(context, narrow.view(), nullptr, one, options));
      const std::vector<uint8_t> codes = nearest_codes(context, part, grid, one);
      Matrix e(w.rows, cols), he(w.rows, cols);
      for (int64_t r = 0; r < w.rows; ++r)
        for (int64_t c = 0; c < cols; ++c)
          e.row(r)[c] = part.row(r)[c] - (static_cast<float>(codes[static_cast<size_t>(r * cols + c)]) -
                                          grid.zero[static_cast<size_t>(r)]) *
                                             grid.scale[static_cast<size_t>(r)];
      QZ_TRY(gemm_nn(context, e.view(), gram, 1, he.data(), cols));
      for (int64_t r = 0; r < w.rows; ++r) {
        double error = 0;
        for (int64_t c = 0; c < cols; ++c)
          error += static_cast<double>(e.row(r)[c]) * static_cast<double>(he.row(r)[c]);
        const auto row = static_cast<size_t>(r), to = static_cast<size_t>(best.at(r, g));
        if (!(error < least[row])) continue;
        least[row] = error;
        best.scale[to] = grid.scale[row];
        best.inverse[to] = grid.inverse[row];
        best.zero[to] = grid.zero[row];
      }
    }
  }
  return assemble(w.rows, w.cols, scheme, best, nearest_codes(context, w, best, scheme), {});
}

}  // namespace qz
