// HQQ (Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models",
// mobiusml.github.io/hqq_blog; hqq 0.2.8, core/optimize.py): no data. Zero points are floats, found group by group so
// that the weights' errors are small in a norm below one, which forgives outliers.
#pragma once
#include "base/context.h"
#include "method/options.h"
#include "packed/qmatrix.h"

namespace qz {

// w: [rows][cols], finite. scheme: integers with float zero points in groups along rows; scheme.scale must be set.
// options.iterations = 0: scales and zero points from minimum and maximum. kNumeric if a zero point does not fit
// scheme.scale.
Result<QMatrix> hqq(const Context& context, MatrixView w, const Scheme& scheme, const HqqOptions& options);

}  // namespace qz
