// The Hessian of one input, damped and factored once for all modules that read it.
#pragma once
#include <vector>

#include "base/context.h"
#include "method/options.h"
#include "method/stats.h"

namespace qz {

class DeviceSolver;

// Columns live in two orders. "Group order" is the one in which a group's columns are neighbours: natural, except for
// g_idx, where it is by falling diag(H). Everything below is in group order; `natural` maps back. "Factor order" is the
// one in which columns are solved, last index first, so that the ordinary lower Cholesky factor of the reordered
// Hessian, L, is what the solver needs: H^-1 = U^T U with U = R^-1, R = L with both indices reversed (GPTQ without
// forming the inverse; the same as Babai's nearest plane, arXiv 2507.18553).
struct HessianFactor {
  int64_t cols = 0;
  std::vector<int32_t> natural;    // [cols] natural column of each position in group order
  std::vector<int32_t> order;      // [cols] position in group order of each factor index; solved from cols-1 down to 0
  Matrix h;                        // [cols][cols] mean x x^T + damp I, group order
  Matrix lower;                    // [cols][cols] L, factor order; entries above the diagonal are zero
  std::vector<float> diag;         // [cols] undamped mean of x_j^2, group order: the weights of the range search
  double damp = 0;                 // that was needed, as a fraction of mean diag(H)
  int32_t damp_steps = 0;          // how often it was raised
  int64_t dead = 0;                // columns that no token excites: their codes are the nearest ones
  DeviceSolver* device = nullptr;  // takes what it can of the work with it; null: the CPU does all
};

// kNumeric when H has NaN or infinity, no tokens, or stays indefinite up to damp = 1. device: factors it where it can,
// and becomes the result's.
Result<HessianFactor> factor_hessian(const Context& context, const StageStats& stats, const GptqOptions& options,
                                     DeviceSolver* device = nullptr);

constexpr int64_t kSolvedTogether = 512;  // rows that are copied and solved at a time: enough for the products
// Solves Z (H + damp I) = Y in place: y is [rows][cols] in group order.
Status solve_rows(const Context& context, const HessianFactor& factor, Matrix* y, Progress* progress);

}  // namespace qz
