// Rounding to nearest within clipped ranges: AWQ's clip search (llm-awq, quantize/auto_clip.py; AutoAWQ 0.2.9,
// quantize/quantizer.py, _compute_best_clip).
#pragma once
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

// w: [rows][cols]; h: [cols][cols] sum of x x^T over calibration tokens, both triangles; scheme: a grid with groups
// along rows or one per row. Per row and group, of ten ranges from the largest magnitude down to 0.55 of it: the one
// whose error on the group's own products, e^T H_group e, is least. Differences from the sources: all tokens count, not
// a sample of 512; a symmetric grid may have a negative scale, so that the larger extreme meets its longer end.
Result<QMatrix> rtn_clipped(const Context& context, MatrixView w, MatrixView h, const Scheme& scheme, int32_t min_zero);

}  // namespace qz
