// What calibration tells about one input, shared by all modules that read it.
#pragma once
#include <cstdint>

#include "tensor/matrix.h"

namespace qz {

// x: the input of this stage in the model as quantized so far; x~ the same token's input in the original model; r, r~
// the residual streams. Sums run over the solving tokens, each multiplied by its token weight. The held-out tokens
// judge what the solver made.
struct StageStats {
  int64_t cols = 0;
  int64_t tokens = 0;  // solving tokens
  float most = 0;      // the largest magnitude of x, over all tokens
  Matrix h;            // [cols][cols] sum of x x^T, both triangles
  Matrix drift;        // [cols][cols] sum of (x~ - x) x^T; empty: one stream
  Matrix residual;  // [hidden][cols] sum of (r~ - r) x^T; empty: no module of this stage writes to the residual stream
  Matrix held_x;    // [held tokens][cols] x
  Matrix held_dx;   // [held tokens][cols] x~ - x; empty: one stream
  Matrix held_dr;   // [held tokens][hidden] r~ - r; empty like residual
};

}  // namespace qz
