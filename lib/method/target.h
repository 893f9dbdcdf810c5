// The matrix that a quantized module should imitate. Not W: what the original model would have added to the residual
// stream, given the inputs that the module will really see (docs/algorithms.md, "Two streams").
#pragma once
#include "method/hessian.h"
#include "method/stats.h"

namespace qz {

struct Target {
  Matrix w;                        // group order
  double drift = 0, residual = 0;  // strengths that were used
};

// What the held-out tokens ask of a module, whatever matrix it gets.
struct HeldOut {
  Matrix gap;       // [held tokens][rows] w (x~ - x) + (r~ - r); empty without held-out tokens
  double norm = 0;  // sum of squares of w x~
};
Result<HeldOut> held_out(const Context& context, MatrixView w, const StageStats& stats, Progress* progress);

// w: the original weight in natural order [rows][cols].
//   W* = W + [drift * W E((x~-x) x^T) + residual * E((r~-r) x^T)] (H + damp I)^-1
// Strengths given in options, or, for kChosen, the ones in [0, 1] that fit the held-out tokens best (a 2x2
// least-squares problem).
Result<Target> make_target(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                           const HeldOut& held, const GptqOptions& options, Progress* progress);

// Mean square of (wq x - w x~ - (r~ - r)) over the held-out tokens, relative to the mean square of w x~: what the
// method is judged by. Without held-out tokens: NaN. Natural order.
Result<double> held_out_error(const Context& context, MatrixView w, MatrixView wq, const StageStats& stats,
                              const HeldOut& held, Progress* progress);

}  // namespace qz
