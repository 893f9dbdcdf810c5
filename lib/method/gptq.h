// GPTQ (Frantar et al. 2022, arXiv 2210.17323) with a two-stream target, act-order with static groups, a weighted range
// search on a signed grid, coordinate-descent sweeps and refitted scales. One module at a time: no model, no file in
// sight.
#pragma once
#include "method/hessian.h"
#include "method/row_metric.h"
#include "method/stats.h"
#include "method/target.h"
#include "packed/qmatrix.h"

namespace qz {

struct Solved {
  QMatrix q;                       // natural order; g_idx set for Order::kGidx with more than one group
  double drift = 0, residual = 0;  // strengths of the target's corrections
  bool fell_back = false;
};

// w: [rows][cols], natural order. scheme.scale must be set. min_zero: the smallest zero point that the format can
// store.
Result<Solved> gptq(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                    const HeldOut& held, const Scheme& scheme, const GptqOptions& options, const RowMetric& metric,
                    int32_t min_zero, Progress* progress = nullptr);

}  // namespace qz
