// Canonical matrices in the layout that GPU kernels read (packed/layout.h): made once, on the host, and copied to the
// device as they are.
#pragma once
#include "base/aligned.h"
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

struct Bricks {
  int64_t rows = 0, cols = 0;
  int32_t group = 0;  // columns that share a scale; 0: the row
  int32_t zero = 0;   // of all weights, when `zeros` is empty
  DType scale_type = DType::kF16;
  AlignedBytes codes;   // [rows / 64][cols / 64][512] words, both rounded up
  AlignedBytes scales;  // [rows / 64][groups][64] of scale_type; 0 in rows that only fill up
  AlignedBytes zeros;   // [rows / 64][groups][64] bytes; empty: symmetric

  uint64_t bytes() const { return codes.size() + scales.size() + zeros.size(); }
};

// Why this matrix cannot be laid out so; success: it can. Integers of at most 4 bits with integer zero points, groups
// of a power of two from 16 columns, or the row, or the matrix; no g_idx that says more than the natural order.
Status check_bricks(const QMatrix& q);

// Same weights, as exact: (code - zero) * scale. Columns that only fill up have the code of their group's zero point.
// kUnsupported as check_bricks says; kOutOfMemory.
Result<Bricks> lay_bricks(const Context& context, const QMatrix& q);

}  // namespace qz
