// GPTQ on the grids of GGUF's blocks: scales, factors and offsets are chosen first, weighted by diag(H) and size; the
// codes are then solved on what they leave, by the same loops as integers, sweeps and refits included.
#pragma once
#include "method/gptq.h"

namespace qz {

// As gptq(), for block codes. kUnsupported for Order::kGidx.
Result<Solved> block_gptq(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                          const HeldOut& held, const Scheme& scheme, const GptqOptions& options,
                          const RowMetric& metric, Progress* progress = nullptr);

}  // namespace qz
