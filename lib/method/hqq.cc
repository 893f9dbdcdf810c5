#include "method/hqq.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/pool.h"
#include "method/range.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr int64_t kRows = 16;  // rows of one task
constexpr float kShrinks[] = {1.0f, 0.97f, 0.94f, 0.9f, 0.86f, 0.82f, 0.78f, 0.74f, 0.7f};

struct Fit {
  float scale = 1, zero = 0;  // as stored
  double error = HUGE_VAL;    // sum of squares
};

// sign(x) max(|x| - |x|^(p - 1) / beta, 0): the proximal step of the norm.
float shrink(float x, float beta, float norm) {
  const float size = std::fabs(x);
  if (size == 0) return 0;
  const float left = size - std::pow(size, norm - 1) / beta;
  return left <= 0 ? 0 : std::copysign(left, x);
}

// The zero point for one inverse scale: alternates codes, errors and the mean that makes up for them, as long as the
// mean error falls. (hqq stops when the mean of the whole matrix rises; a group does not know of the others here.)
float solve_zero(const float* w, int64_t n, float inverse, float zero, float max_code, const HqqOptions& o) {
  float beta = static_cast<float>(o.beta), best = HUGE_VALF;
  const float norm = static_cast<float>(o.norm);
  for (int32_t i = 0; i < o.iterations; ++i) {
    double next = 0, size = 0;
    for (int64_t j = 0; j < n; ++j) {
      const float code = nearest_code(w[j], inverse, zero, max_code);
      const float error = w[j] - (code - zero) / inverse;
      size += static_cast<double>(std::fabs(error));
      next += static_cast<double>(code - (w[j] - shrink(error, beta, norm)) * inverse);
    }
    zero = static_cast<float>(next / static_cast<double>(n));
    if (static_cast<float>(size) >= best) break;
    best = static_cast<float>(size);
    beta *= static_cast<float>(o.growth);
  }
  return zero;
}

void judge(const float* w, int64_t n, float inverse, float zero, float max_code, DType dtype, Fit* best) {
  Fit fit;
  fit.scale = storable_scale(1 / inverse, dtype);
  fit.zero = round_to(zero, dtype);
  fit.error = 0;
  for (int64_t j = 0; j < n; ++j) {
    const double d =
        static_cast<double>(w[j] - (nearest_code(w[j], 1 / fit.scale, fit.zero, max_code) - fit.zero) * fit.scale);
    fit.error += d * d;
  }
  if (fit.error < best->error) *best = fit;
}

Fit fit_group(const float* w, int64_t n, const Scheme& scheme, const HqqOptions& o) {
  const auto [low, high] = std::minmax_element(w, w + n);
  const float max_code = static_cast<float>(scheme.max_code()), range = *high - *low;
  Fit best;
  for (const float part : kShrinks) {
    const float inverse = range * part <= 1e-4f ? 1.0f : std::min(max_code / (range * part), 2e4f);
    float zero = -*low * inverse * part;  // the shrunken range keeps its middle's place on the grid
    if (scheme.bits == 4 && o.iterations > 0) zero = std::nearbyint(zero);
    judge(w, n, inverse, solve_zero(w, n, inverse, zero, max_code, o), max_code, scheme.scale, &best);
    if (!o.search) break;
  }
  return best;
}

}  // namespace

Result<QMatrix> hqq(const Context& context, MatrixView w, const Scheme& scheme, const HqqOptions& options) {
  QMatrix q;
  q.rows = w.rows;
  q.cols = w.cols;
  q.scheme = scheme;
  const int64_t groups = q.groups(), size = scheme.group_size(w.cols);
  q.codes.resize(static_cast<size_t>(w.rows * w.cols));
  q.scales.resize(static_cast<size_t>(w.rows * groups));
  q.float_zeros.resize(q.scales.size());
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(ceil_div(w.rows, kRows)), [&](uint32_t task, uint32_t) {
    for (int64_t r = task * kRows; r < std::min(w.rows, (task + int64_t{1}) * kRows); ++r)
      for (int64_t g = 0; g < groups; ++g) {
        const float* row = w.row(r) + g * size;
        const int64_t n = std::min(size, w.cols - g * size);
        const Fit fit = fit_group(row, n, scheme, options);
        if (!std::isfinite(fit.zero) || !std::isfinite(fit.scale) || !std::isfinite(fit.error))
          return error(Code::kNumeric, "row %lld, group %lld: no zero point fits %s", static_cast<long long>(r),
                       static_cast<long long>(g), dtype_name(scheme.scale));
        const size_t at = static_cast<size_t>(r * groups + g);
        q.scales[at] = fit.scale;
        q.float_zeros[at] = fit.zero;
        for (int64_t j = 0; j < n; ++j)
          q.codes[static_cast<size_t>(r * w.cols + g * size + j)] = static_cast<uint8_t>(
              nearest_code(row[j], 1 / fit.scale, fit.zero, static_cast<float>(scheme.max_code())));
      }
    return Status();
  }));
  return q;
}

}  // namespace qz
