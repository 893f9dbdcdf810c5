// Codes that are places in a table (NF4, FP4, FP8), rounded to nearest without data: QLoRA (Dettmers et al. 2023, arXiv
// 2305.14314) as bitsandbytes computes it, and FP8 as compressed-tensors does.
#pragma once
#include <algorithm>

#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

// w: [rows][cols], finite. scheme: NF4 or FP4 in flat blocks, or FP8 in rows, tensors or tiles; scheme.scale must be
// set. NF4 and FP4 codes are chosen with the exact scales, before double quantization rounds them, as bitsandbytes
// does.
Result<QMatrix> round_to_table(const Context& context, MatrixView w, const Scheme& scheme);

// The rows and columns that share scale s; not of flat blocks.
struct Area {
  int64_t row, rows, col, cols;
};
Area area_of(const QMatrix& q, int64_t s);

// Calls f(row, column) for all weights that share scale s.
template <class F>
void each_in_group(const QMatrix& q, int64_t s, F f) {
  if (q.scheme.grouping == Grouping::kFlat) {
    const int64_t begin = s * q.scheme.group, end = std::min(q.rows * q.cols, begin + q.scheme.group);
    for (int64_t i = begin; i < end; ++i) f(i / q.cols, i % q.cols);
    return;
  }
  const Area a = area_of(q, s);
  for (int64_t r = a.row; r < a.row + a.rows; ++r)
    for (int64_t c = a.col; c < a.col + a.cols; ++c) f(r, c);
}

// Replaces the scales by 8-bit codes in blocks of scheme.nested around their mean (bitsandbytes' double quantization).
void nest_scales(QMatrix* q);

}  // namespace qz
