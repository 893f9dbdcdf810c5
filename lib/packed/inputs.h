// 8-bit inputs of a layer (Scheme::activations) as the floats that they stand for: what a loader with integer kernels
// multiplies.
#pragma once
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

// x: [tokens][q.cols] -> out, as much. Per token: scale from its largest magnitude. kTensor: q.input_scale. kOutliers:
// columns that reach kOutlierThreshold in any of these tokens stay as they are, the others are in parts of 127 of the
// token's largest magnitude among them (LLM.int8(), section 3.2). FP8 matrices take FP8 inputs, tiles of them one scale
// for each group of columns.
void quantize_inputs(const QMatrix& q, MatrixView x, float* out);

// The scale of Activations::kTensor for inputs of which `most` is the largest magnitude, exact in scheme.scale.
float input_scale_for(const Scheme& scheme, float most);

// What of a matrix decides how its inputs are rounded.
struct InputRule {
  CodeKind code = CodeKind::kInt;
  Activations activations = Activations::kNone;
  float input_scale = 0;  // of kTensor
};
inline InputRule input_rule(const QMatrix& q) { return {q.scheme.code, q.scheme.activations, q.input_scale}; }

// The same inputs as codes and what a code stands for, for kernels that multiply integers: x = factors[t] * codes[t][c]
// + rest[t][c]. rest is empty where nothing is left: only LLM.int8()'s outlier columns are.
struct InputCodes {
  std::vector<int8_t> codes;   // [tokens][cols]
  std::vector<float> factors;  // [tokens][factors_of_row]
  int64_t factors_of_row = 1;
  Matrix rest;
};
// Not of FP8. Integers of Activations::kNone are rounded as those of kToken are. A token with a number that is not
// finite has the factor NaN; an infinity that is an outlier stays one.
Status input_codes(const Context& context, const InputRule& rule, MatrixView x, InputCodes* out);
// With a factor for each run of columns [starts[g], starts[g + 1]) of each token, which follow each other from 0 to
// x.cols; a run with a number that is not finite has the factor NaN.
Status input_codes_of_runs(const Context& context, const std::vector<int32_t>& starts, MatrixView x, InputCodes* out);

}  // namespace qz
