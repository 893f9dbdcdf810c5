// GPTQ's greedy column loop on a grid that is a table (NF4, FP4, FP8): the solver does not care how a nearest point is
// found. Scales come from a search weighted by diag(H).
#pragma once
#include "method/gptq.h"

namespace qz {

// As gptq(), for schemes of tables. No output metric, no sweeps: one pass. kUnsupported for Order::kGidx.
Result<Solved> table_gptq(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                          const HeldOut& held, const Scheme& scheme, const GptqOptions& options,
                          Progress* progress = nullptr);

}  // namespace qz
