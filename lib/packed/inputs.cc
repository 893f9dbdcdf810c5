#include "packed/inputs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rows.h"
#include "base/simd.h"
#include "packed/codebook.h"
#include "tensor/convert.h"
#include "tensor/extremes.h"

namespace qz {
namespace {

constexpr float kHalfRange = 127.5f;  // compressed-tensors: 255 steps from -128 to 127
constexpr float kFp8Most = 448;

float largest(const float* x, int64_t n) {
  float most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::fabs(x[i]));
  return most;
}

void round_integers(const float* x, int64_t n, float scale, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const float code = std::clamp(std::nearbyint(x[i] / scale), -128.0f, 127.0f);
    out[i] = code * scale;
  }
}

void round_fp8(const float* x, int64_t n, float scale, float* out) {
  const std::vector<float>& table = codebook(CodeKind::kFp8);
  for (int64_t i = 0; i < n; ++i) out[i] = table[nearest_in_codebook(CodeKind::kFp8, x[i] / scale)] * scale;
}

void round_run(const QMatrix& q, const float* x, int64_t n, float scale, float* out) {
  if (!(scale > 0)) {
    std::copy(x, x + n, out);
  } else if (q.scheme.code == CodeKind::kFp8) {
    round_fp8(x, n, scale, out);
  } else {
    round_integers(x, n, scale, out);
  }
}

QZ_SIMD_CLONES
void codes_of(const float* x, int64_t n, float factor, int8_t* out) {
  for (int64_t i = 0; i < n; ++i) {
    float code = x[i] / factor;
    code = code > -128.0f ? code : -128.0f;
    code = code < 127.0f ? code : 127.0f;
    out[i] = static_cast<int8_t>(static_cast<int32_t>(round_even(code)));
  }
}

// In parts of `half_range` of the largest magnitude; returns the factor. Of zeros or what is not finite the codes stay.
float round_together(const float* x, int64_t n, float half_range, int8_t* codes) {
  if (!all_finite(x, n)) return std::numeric_limits<float>::quiet_NaN();
  const float factor = largest_magnitude(x, n) / half_range;
  if (factor > 0) codes_of(x, n, factor, codes);
  return factor;
}

// Columns with a magnitude that reaches the threshold; whether there are any.
bool mark_outliers(MatrixView x, float threshold, std::vector<uint8_t>* apart) {
  bool any = false;
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t c = 0; c < x.cols; ++c)
      if (std::fabs(x.row(t)[c]) >= threshold) {
        (*apart)[static_cast<size_t>(c)] = 1;
        any = true;
      }
  return any;
}

void round_outliers(MatrixView x, float threshold, float* out) {
  std::vector<uint8_t> apart(static_cast<size_t>(x.cols));
  if (threshold > 0) mark_outliers(x, threshold, &apart);
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* row = x.row(t);
    float most = 0;
    for (int64_t c = 0; c < x.cols; ++c)
      if (!apart[static_cast<size_t>(c)]) most = std::max(most, std::fabs(row[c]));
    const float scale = most / 127;
    for (int64_t c = 0; c < x.cols; ++c) {
      const bool whole = apart[static_cast<size_t>(c)] || most == 0;
      out[t * x.cols + c] = whole ? row[c] : std::nearbyint(row[c] / scale) * scale;
    }
  }
}

}  // namespace

float input_scale_for(const Scheme& s, float most) {
  const float scale = round_to(most / (s.code == CodeKind::kFp8 ? kFp8Most : kHalfRange), s.scale);
  return std::isfinite(scale) && scale >= std::numeric_limits<float>::min() ? scale : 1.0f;  // of silence: any
}

void quantize_inputs(const QMatrix& q, MatrixView x, float* out) {
  const Scheme& s = q.scheme;
  if (s.activations == Activations::kOutliers || s.code == CodeKind::kLlmInt8)
    return round_outliers(x, s.activations == Activations::kOutliers ? kOutlierThreshold : 0, out);
  const int64_t run = s.grouping == Grouping::kTile ? s.group : x.cols;
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t c = 0; c < x.cols; c += run) {
      const int64_t n = std::min(run, x.cols - c);
      const float* from = x.row(t) + c;
      const float most = s.code == CodeKind::kFp8 ? kFp8Most : kHalfRange;
      const float scale = s.activations == Activations::kTensor ? q.input_scale : largest(from, n) / most;
      round_run(q, from, n, scale, out + t * x.cols + c);
    }
}

Status input_codes(const Context& context, const InputRule& rule, MatrixView x, InputCodes* out) {
  const bool outliers = rule.activations == Activations::kOutliers || rule.code == CodeKind::kLlmInt8;
  InputCodes& in = *out;
  in.codes.assign(static_cast<size_t>(x.rows * x.cols), 0);
  in.factors.assign(static_cast<size_t>(x.rows), 0);
  std::vector<uint8_t> apart(static_cast<size_t>(x.cols));
  if (rule.activations == Activations::kOutliers && mark_outliers(x, kOutlierThreshold, &apart)) {
    in.rest = Matrix(x.rows, x.cols);
  }
  const auto round_row = [&](int64_t t) {
    const float* row = x.row(t);
    int8_t* codes = in.codes.data() + t * x.cols;
    float& factor = in.factors[static_cast<size_t>(t)];
    if (rule.activations == Activations::kTensor) {
      factor = all_finite(row, x.cols) ? rule.input_scale : std::numeric_limits<float>::quiet_NaN();
      if (factor > 0) codes_of(row, x.cols, factor, codes);
      return;
    }
    if (in.rest.empty()) {
      factor = round_together(row, x.cols, outliers ? 127 : kHalfRange, codes);
      return;
    }
    float most = 0, zero = 0;  // zero: NaN after a number that is not finite
    for (int64_t c = 0; c < x.cols; ++c) {
      if (apart[static_cast<size_t>(c)]) continue;
      most = std::max(most, std::fabs(row[c]));
      zero += row[c] * 0.0f;
    }
    factor = most / 127 + zero;
    for (int64_t c = 0; c < x.cols; ++c) {
      if (apart[static_cast<size_t>(c)]) {
        in.rest.row(t)[c] = row[c];
      } else if (factor > 0) {
        codes[c] = static_cast<int8_t>(std::clamp(std::nearbyint(row[c] / factor), -128.0f, 127.0f));
      }
    }
  };
  return for_each_row(context, x.rows, round_row, 16);
}

Status input_codes_of_runs(const Context& context, const std::vector<int32_t>& starts, MatrixView x, InputCodes* out) {
  const int64_t runs = static_cast<int64_t>(starts.size()) - 1;
  InputCodes& in = *out;
  in.factors_of_row = runs;
  in.codes.assign(static_cast<size_t>(x.rows * x.cols), 0);
  in.factors.assign(static_cast<size_t>(x.rows * runs), 0);
  const auto round_row = [&](int64_t t) {
    for (int64_t g = 0; g < runs; ++g) {
      const int64_t begin = starts[static_cast<size_t>(g)], count = starts[static_cast<size_t>(g + 1)] - begin;
      in.factors[static_cast<size_t>(t * runs + g)] =
          round_together(x.row(t) + begin, count, kHalfRange, in.codes.data() + t * x.cols + begin);
    }
  };
  return for_each_row(context, x.rows, round_row, 16);
}

}  // namespace qz
