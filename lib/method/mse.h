// Rounding to nearest within the range of each group that leaves the least error, instead of from minimum to maximum
// (what Choukroun et al. 2019, "Low-bit Quantization of Neural Networks for Efficient Inference", arXiv 1902.06822, do
// per tensor; range.h). No data: errors count by the size of the weight alone.
#pragma once
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

// w: [rows][cols], finite. scheme: integers by rows, with integer zero points or none; scheme.scale must be set.
// min_zero: the smallest zero point that the format can store. kNumeric when a scale does not fit scheme.scale.
Result<QMatrix> round_within_range(const Context& context, MatrixView w, const Scheme& scheme, int32_t min_zero);

}  // namespace qz
