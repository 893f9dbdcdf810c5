#include "method/range.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "base/checked.h"
#include "base/simd.h"
#include "method/error_weight.h"
#include "tensor/convert.h"
#include "tensor/extremes.h"

namespace qz {
namespace {

constexpr int64_t kRows = 32;    // rows of one task
constexpr int kLanes = 16;       // partial sums of a reduction: the same order whatever the vector width
constexpr int kRefineSteps = 3;  // least-squares steps after the grid search

struct Candidate {
  float scale, zero;
};

// Weighted squared error of one row segment on a candidate's grid.
QZ_SIMD_CLONES
float segment_error(const float* w, const float* h, int64_t n, float scale, float zero, float max_code) {
  const float inverse = 1 / scale;
  float sum[kLanes] = {};
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes)
    for (int l = 0; l < kLanes; l++) {
      const float d = w[j + l] - scale * (nearest_code(w[j + l], inverse, zero, max_code) - zero);
      sum[l] += h[j + l] * d * d;
    }
  for (; j < n; j++) {
    const float d = w[j] - scale * (nearest_code(w[j], inverse, zero, max_code) - zero);
    sum[j % kLanes] += h[j] * d * d;
  }
  float total = 0;
  for (float s : sum) total += s;
  return total;
}

QZ_SIMD_CLONES
void segment_codes(const float* w, int64_t n, float inverse, float zero, float max_code, uint8_t* codes) {
  for (int64_t j = 0; j < n; j++)
    codes[j] = static_cast<uint8_t>(static_cast<int32_t>(nearest_code(w[j], inverse, zero, max_code)));
}

// Numerator and denominator of the least-squares scale for the codes that a candidate gives.
QZ_SIMD_CLONES
void segment_fit(const float* w, const float* h, int64_t n, float scale, float zero, float max_code, double* num,
                 double* den) {
  const float inverse = 1 / scale;
  float a[kLanes] = {}, b[kLanes] = {};
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes)
    for (int l = 0; l < kLanes; l++) {
      const float c = nearest_code(w[j + l], inverse, zero, max_code) - zero;
      a[l] += h[j + l] * w[j + l] * c;
      b[l] += h[j + l] * c * c;
    }
  for (; j < n; j++) {
    const float c = nearest_code(w[j], inverse, zero, max_code) - zero;
    a[j % kLanes] += h[j] * w[j] * c;
    b[j % kLanes] += h[j] * c * c;
  }
  for (int l = 0; l < kLanes; l++) {
    *num += static_cast<double>(a[l]);
    *den += static_cast<double>(b[l]);
  }
}

QZ_SIMD_CLONES
double sum_of_squares(const float* w, int64_t n) {
  float sum[kLanes] = {};
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes)
    for (int l = 0; l < kLanes; l++) sum[l] += w[j + l] * w[j + l];
  for (; j < n; j++) sum[j % kLanes] += w[j] * w[j];
  double total = 0;
  for (float s : sum) total += static_cast<double>(s);
  return total;
}

// The rows that share one scale: one row's group, or, per tensor, all rows.
struct Segments {
  MatrixView w;
  int64_t r0, r1, c0, c1;
  const float* h;  // at c0
  int64_t columns() const { return c1 - c0; }
  template <class F>
  void each(F&& f) const {
    for (int64_t r = r0; r < r1; r++) f(w.row(r) + c0);
  }
};

QZ_SIMD_CLONES
void weigh_errors(const float* w, const float* h, int64_t n, float floor, float* out) {
  for (int64_t j = 0; j < n; j++) out[j] = h[j] * std::sqrt(floor + w[j] * w[j]);
}

// How much each error of a row counts; kept while the row stays the same.
class ErrorWeights {
 public:
  ErrorWeights(const Segments& s, int bits) : h_(s.h), weights_(static_cast<size_t>(s.columns())) {
    double squares = 0;
    s.each([&](const float* w) { squares += sum_of_squares(w, s.columns()); });
    floor_ = magnitude_floor(bits, squares / static_cast<double>((s.r1 - s.r0) * s.columns()));
  }
  // w: a row of the segments, at c0.
  const float* of(const float* w) {
    if (w != row_) weigh_errors(w, h_, static_cast<int64_t>(weights_.size()), floor_, weights_.data());
    row_ = w;
    return weights_.data();
  }

 private:
  const float* h_;
  float floor_;
  const float* row_ = nullptr;
  std::vector<float> weights_;
};

Candidate full_range(const Segments& s, const Scheme& scheme, const RangeOptions& o, float* low, float* high) {
  *low = *high = 0;
  s.each([&](const float* p) { widen(p, s.columns(), low, high); });
  const float mid = static_cast<float>(scheme.mid_code()), max_code = static_cast<float>(scheme.max_code());
  if (scheme.symmetric) {
    const float extreme = std::max(-*low, *high);
    if (o.signed_grid) return {(*high > -*low ? -extreme : extreme) / mid, mid};
    return {2 * extreme / max_code, mid};
  }
  const float scale = (*high - *low) / max_code;
  return {scale, 0};  // the zero point follows from the shrunken low end
}

float zero_for(float low, float scale, const Scheme& scheme, const RangeOptions& o) {
  const float z = std::nearbyint(-low / scale);
  return std::clamp(z, static_cast<float>(o.min_zero), static_cast<float>(scheme.max_code()));
}

Candidate choose(const Segments& s, const Scheme& scheme, const RangeOptions& o) {
  float low, high;
  const Candidate full = full_range(s, scheme, o, &low, &high);
  const float max_code = static_cast<float>(scheme.max_code());
  if (full.scale == 0)
    return {storable_scale(0, scheme.scale),
            scheme.symmetric ? full.zero : static_cast<float>(std::max(o.min_zero, 0))};
  auto candidate = [&](float shrink) {
    Candidate c = {storable_scale(full.scale * shrink, scheme.scale), full.zero};
    if (!scheme.symmetric) c.zero = zero_for(low * shrink, c.scale, scheme, o);
    return c;
  };
  if (!o.search) return candidate(1);
  ErrorWeights weights(s, scheme.bits);
  auto cost = [&](const Candidate& c) {
    double e = 0;
    s.each([&](const float* p) {
      e += static_cast<double>(segment_error(p, weights.of(p), s.columns(), c.scale, c.zero, max_code));
    });
    return e;
  };
  Candidate best = candidate(1);
  double best_cost = cost(best);
  auto consider = [&](const Candidate& c) {
    const double e = cost(c);
    if (e < best_cost) best_cost = e, best = c;
  };
  // Bounded: an unbounded fit lets one important column clip the rest. Coarse codes gain from stronger clipping.
  const int steps = scheme.bits >= 8 ? 10 : 30;
  const float least = scheme.bits >= 8 ? 0.9f : scheme.bits == 4 ? 0.55f : scheme.bits == 3 ? 0.45f : 0.3f;
  for (int i = 1; i <= steps; i++)
    consider(candidate(1 - (1 - least) * static_cast<float>(i) / static_cast<float>(steps)));
  if (scheme.symmetric && o.signed_grid)  // the other sign wins when both extremes are alike
    for (int i = 0; i <= steps; i++)
      consider({-candidate(1 - (1 - least) * static_cast<float>(i) / static_cast<float>(steps)).scale, full.zero});
  for (int i = 0; i < kRefineSteps; i++) {
    double num = 0, den = 0;
    s.each([&](const float* p) {
      segment_fit(p, weights.of(p), s.columns(), best.scale, best.zero, max_code, &num, &den);
    });
    if (!(den > 0)) break;
    const float fitted = storable_scale(static_cast<float>(num / den), scheme.scale);
    const float ratio = fitted / full.scale;
    if (!(std::fabs(ratio) >= least && std::fabs(ratio) <= 1.1f) || (fitted > 0) != (best.scale > 0)) break;
    const Candidate c = {fitted, best.zero};
    const double e = cost(c);
    if (!(e < best_cost)) break;
    best_cost = e, best = c;
  }
  return best;
}

}  // namespace

float storable_scale(float scale, DType dtype) {
  const float least = dtype == DType::kF16 ? 6.103515625e-05f : FLT_MIN;  // smallest normal number
  const float rounded = round_to(scale, dtype);
  // FLT_MIN: below it 1 / scale may overflow. Subnormal numbers of F16 are well above.
  return std::fabs(rounded) < FLT_MIN ? std::copysign(least, scale) : rounded;
}

Result<Grid> choose_grid(const Context& context, MatrixView w, const float* weights, const Scheme& scheme,
                         const RangeOptions& options) {
  Grid grid;
  grid.rows = w.rows;
  grid.groups = scheme.groups(w.cols);
  const size_t n = static_cast<size_t>(grid.rows * grid.groups);
  grid.scale.resize(n);
  grid.inverse.resize(n);
  grid.zero.resize(n);
  const std::vector<float> ones(weights ? 0 : static_cast<size_t>(w.cols), 1.0f);
  const float* h = weights ? weights : ones.data();
  if (scheme.group == kGroupTensor) {
    const Candidate c = choose({w, 0, w.rows, 0, w.cols, h}, scheme, options);
    std::fill(grid.scale.begin(), grid.scale.end(), c.scale);
    std::fill(grid.zero.begin(), grid.zero.end(), c.zero);
  } else {
    const int64_t size = scheme.group_size(w.cols);
    QZ_TRY(parallel_for(context, static_cast<uint32_t>(ceil_div(w.rows, kRows)), [&](uint32_t task, uint32_t) {
      for (int64_t r = task * kRows; r < std::min<int64_t>(w.rows, (task + 1) * kRows); r++)
        for (int64_t g = 0; g < grid.groups; g++) {
          const int64_t c0 = g * size, c1 = std::min(w.cols, c0 + size);
          const Candidate c = choose({w, r, r + 1, c0, c1, h + c0}, scheme, options);
          grid.scale[static_cast<size_t>(grid.at(r, g))] = c.scale;
          grid.zero[static_cast<size_t>(grid.at(r, g))] = c.zero;
        }
      return Status();
    }));
  }
  for (size_t i = 0; i < n; i++) {
    grid.inverse[i] = 1 / grid.scale[i];
    if (!std::isfinite(grid.scale[i]) || !std::isfinite(grid.inverse[i]))
      return error(Code::kNumeric, "row %zu, group %zu: the scale does not fit %s",
                   i / static_cast<size_t>(grid.groups), i % static_cast<size_t>(grid.groups),
                   dtype_name(scheme.scale));
  }
  return grid;
}

std::vector<uint8_t> nearest_codes(const Context& context, MatrixView w, const Grid& grid, const Scheme& scheme) {
  std::vector<uint8_t> codes(static_cast<size_t>(w.rows * w.cols));
  const int64_t size = scheme.group_size(w.cols);
  const float max_code = static_cast<float>(scheme.max_code());
  (void)parallel_for(context, static_cast<uint32_t>(ceil_div(w.rows, kRows)), [&](uint32_t task, uint32_t) {
    for (int64_t r = task * kRows; r < std::min<int64_t>(w.rows, (task + 1) * kRows); r++)
      for (int64_t c = 0; c < w.cols; c += size) {
        const size_t at = static_cast<size_t>(grid.at(r, c / size));
        segment_codes(w.row(r) + c, std::min(size, w.cols - c), grid.inverse[at], grid.zero[at], max_code,
                      codes.data() + r * w.cols + c);
      }
    return Status();
  });
  return codes;
}

}  // namespace qz
