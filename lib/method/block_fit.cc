#include "method/block_fit.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/simd.h"
#include "method/lattice.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr int kLanes = 16;  // every part is a multiple
constexpr int kSteps = 24;  // candidates of one part's scale
constexpr float kMostRange = 1.06f;
constexpr float kMostWeight = 1e10f;  // more than any code times any factor times the largest F16 number
constexpr int kPolish = 3;            // least-squares steps after the search
constexpr int kBlockSteps = 6;        // candidates of the block's scale, and of its offset

// Weighted sums over a part, for the points p that a scale and an offset give: w = scale * p - offset.
struct Sums {
  float error, h, hp, hpp, hx, hxp;
};

// zero: what makes points of integers out of codes. scale is not 0.
QZ_SIMD_CLONES
Sums sum_part(const Points& points, float zero, const float* x, const float* h, int n, float scale, float offset) {
  const float inverse = 1 / scale;
  float s[6][kLanes] = {}, aim[kLanes], p[kLanes], inverses[kLanes], zeros[kLanes];
  for (int l = 0; l < kLanes; ++l) inverses[l] = inverse, zeros[l] = zero;
  for (int i = 0; i < n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) aim[l] = x[i + l] + offset;
    nearest_points<kLanes>(points, aim, inverses, zeros, p);
    for (int l = 0; l < kLanes; ++l) {
      const float v = p[l] - zero, w = h[i + l], d = aim[l] - scale * v;
      s[0][l] += w * d * d;
      s[1][l] += w;
      s[2][l] += w * v;
      s[3][l] += w * v * v;
      s[4][l] += w * x[i + l];
      s[5][l] += w * x[i + l] * v;
    }
  }
  float total[6] = {};
  for (int k = 0; k < 6; ++k)
    for (int l = 0; l < kLanes; ++l) total[k] += s[k][l];
  return {total[0], total[1], total[2], total[3], total[4], total[5]};
}

struct Fit {
  float scale = 0, offset = 0, error = HUGE_VALF;
};

class Fitter {
 public:
  Fitter(const BlockCode& block, const float* x, const float* h, BlockFields* out)
      : block_(block), lattice_(block, 1), zero_(block.uniform ? -block.points[0] : 0), x_(x), h_(h), out_(out) {}

  bool run() {
    for (int i = 0; i < block_.elements; ++i)
      if (!(std::fabs(x_[i]) < kMostWeight)) return false;
    for (int p = 0; p < block_.parts(); ++p)
      fits_[p] = block_.offset == BlockOffset::kNone ? symmetric(p) : with_offset(p);
    if (block_.least_scale == block_.most_scale)
      plain();
    else
      factors();
    if (!std::isfinite(out_->d) || !std::isfinite(out_->dmin)) return false;
    choose_codes();
    return true;
  }

 private:
  int size() const { return block_.part; }
  const float* x(int p) const { return x_ + p * block_.part; }
  Sums sums(int p, float scale, float offset) const {
    return sum_part(lattice_.points, zero_, x(p), h_ + p * block_.part, size(), scale, offset);
  }
  // The smallest range to try: coarse codes gain from stronger clipping.
  float least_range() const {
    static constexpr float kLeast[] = {0.3f, 0.3f, 0.35f, 0.45f, 0.55f, 0.7f, 0.8f, 0.9f, 0.96f};
    return kLeast[block_.bits];
  }

  void consider(int p, float scale, float offset, Fit* best) const {
    if (scale == 0 || !std::isfinite(1 / scale)) return;
    const Sums s = sums(p, scale, offset);
    if (s.error < best->error) *best = {scale, offset, s.error};
  }

  Fit symmetric(int p) const;
  Fit with_offset(int p) const;
  // The least-squares scale and offset for the points that a fit gives.
  void polish(int p, Fit* fit) const;
  void plain();
  void factors();
  // Factors for d and dmin; returns the error of the block.
  float choose_factors(float d, float dmin, int16_t* scales, int16_t* mins) const;
  void choose_codes();

  const BlockCode& block_;
  const Lattice lattice_;
  const float zero_;
  const float* x_;
  const float* h_;
  BlockFields* out_;
  Fit fits_[kMostParts];
};

Fit Fitter::symmetric(int p) const {
  float extreme = 0;
  for (int i = 0; i < size(); ++i) extreme = std::max(extreme, std::fabs(x(p)[i]));
  Fit best;
  if (extreme == 0) return {0, 0, 0};
  const float full = extreme / -block_.points[0], least = least_range();
  for (int i = 0; i <= kSteps; ++i) {
    const float scale = full * (kMostRange - (kMostRange - least) * static_cast<float>(i) / kSteps);
    consider(p, scale, 0, &best);
    consider(p, -scale, 0, &best);  // the end of the points that reaches further may be wanted on the other side
  }
  polish(p, &best);
  return best;
}

Fit Fitter::with_offset(int p) const {
  float low = x(p)[0], high = low;
  for (int i = 1; i < size(); ++i) low = std::min(low, x(p)[i]), high = std::max(high, x(p)[i]);
  if (block_.offset == BlockOffset::kFactor) low = std::min(low, 0.0f);
  const float reach = block_.points[(1 << block_.bits) - 1];
  if (high == low) return {0, -low, 0};
  Fit best;
  const float middle = (low + high) / 2, full = (high - low) / reach, least = least_range();
  for (int i = 0; i <= kSteps; ++i) {
    const float range = kMostRange - (kMostRange - least) * static_cast<float>(i) / kSteps;
    // Clipped at both ends, or fine steps around the whole range from its low end.
    const float fine = reach / (reach - 1 + 2 * static_cast<float>(i) / kSteps);
    const std::pair<float, float> starts[] = {{full * range, range * (high - low) / 2 - middle}, {full * fine, -low}};
    for (const auto& [scale, offset] : starts) {
      Fit candidate;
      consider(p, scale, block_.offset == BlockOffset::kOwn ? offset : std::max(offset, 0.0f), &candidate);
      polish(p, &candidate);
      if (candidate.error < best.error) best = candidate;
    }
  }
  return best;
}

void Fitter::polish(int p, Fit* fit) const {
  for (int i = 0; i < kPolish && std::isfinite(fit->error) && fit->scale != 0; ++i) {
    const Sums s = sums(p, fit->scale, fit->offset);
    float scale = 0, offset = 0;
    const float det = s.hpp * s.h - s.hp * s.hp;
    if (block_.offset != BlockOffset::kNone && det > 0) {
      scale = (s.hxp * s.h - s.hp * s.hx) / det;
      offset = (scale * s.hp - s.hx) / s.h;
    }
    if (block_.offset == BlockOffset::kNone || !(det > 0) || (offset < 0 && block_.offset == BlockOffset::kFactor)) {
      if (!(s.hpp > 0)) return;
      offset = 0;
      scale = s.hxp / s.hpp;
    }
    const float before = fit->error;
    consider(p, scale, offset, fit);
    if (!(fit->error < before)) return;
  }
}

// One part, whose scale and offset are F16 numbers.
void Fitter::plain() {
  out_->d = round_to(fits_[0].scale, DType::kF16);
  out_->scales[0] = 1;
  const bool own = block_.offset == BlockOffset::kOwn;
  out_->dmin = own ? round_to(-fits_[0].offset, DType::kF16) : 0;
  out_->mins[0] = own ? -1 : 0;
}

float Fitter::choose_factors(float d, float dmin, int16_t* scales, int16_t* mins) const {
  float total = 0;
  for (int p = 0; p < block_.parts(); ++p) {
    const Fit& fit = fits_[p];
    Fit best;
    const auto clamp_scale = [&](float v) {
      return std::clamp(v, static_cast<float>(block_.least_scale), static_cast<float>(block_.most_scale));
    };
    const auto clamp_min = [&](float v) { return std::clamp(v, 0.0f, static_cast<float>(block_.most_min)); };
    const float near = d != 0 ? clamp_scale(std::nearbyint(fit.scale / d)) : 0;
    scales[p] = mins[p] = 0;
    const auto take = [&](float s, float m) {
      const float before = best.error;
      consider(p, d * s, dmin * m, &best);
      if (best.error < before) scales[p] = static_cast<int16_t>(s), mins[p] = static_cast<int16_t>(m);
    };
    for (int by = -1; by <= 1; ++by) {
      const float s = clamp_scale(near + static_cast<float>(by));
      if (s == 0 || d == 0) continue;
      if (dmin == 0) {
        take(s, 0);
        continue;
      }
      const Sums sum = sums(p, d * s, fit.offset);
      const float offset = sum.h > 0 ? (d * s * sum.hp - sum.hx) / sum.h : fit.offset;
      const float m = clamp_min(std::nearbyint(offset / dmin));
      take(s, m);
      if (m > 0) take(s, m - 1);
      if (m < static_cast<float>(block_.most_min)) take(s, m + 1);
    }
    // No scale: every weight is minus the offset.
    const float m = dmin != 0 ? clamp_min(std::nearbyint(fit.offset / dmin)) : 0;
    float error = 0;
    for (int i = 0; i < size(); ++i) {
      const float off = x(p)[i] + dmin * m;
      error += h_[p * size() + i] * off * off;
    }
    if (block_.least_scale <= 0 && (error < best.error || !std::isfinite(best.error))) {
      best.error = error;
      scales[p] = 0, mins[p] = static_cast<int16_t>(m);
    }
    total += best.error;
  }
  return total;
}

void Fitter::factors() {
  float extreme = 0, deepest = 0;
  for (int p = 0; p < block_.parts(); ++p) {
    if (std::fabs(fits_[p].scale) > std::fabs(extreme)) extreme = fits_[p].scale;
    deepest = std::max(deepest, fits_[p].offset);
  }
  // The factor that reaches furthest takes the largest scale, or a little less of it does.
  const float reach =
      static_cast<float>(-block_.least_scale > block_.most_scale ? block_.least_scale : block_.most_scale);
  const auto step = [](float most, float factor) { return round_to(most / factor, DType::kF16); };
  const float toward = reach < 0 ? 1.0f : -1.0f, mins = static_cast<float>(std::max(1, block_.most_min));
  float least = HUGE_VALF;
  int16_t scales[kMostParts], offsets[kMostParts];
  const auto attempt = [&](float d, float dmin) {
    if (!std::isfinite(d) || !std::isfinite(dmin)) return;
    const float error = choose_factors(d, dmin, scales, offsets);
    if (!(error < least)) return;
    least = error;
    out_->d = d, out_->dmin = dmin;
    std::copy_n(scales, kMostParts, out_->scales);
    std::copy_n(offsets, kMostParts, out_->mins);
  };
  out_->d = step(extreme, reach), out_->dmin = step(deepest, mins);
  std::fill_n(out_->scales, kMostParts, int16_t{0});
  std::fill_n(out_->mins, kMostParts, int16_t{0});
  for (int i = 0; i < kBlockSteps; ++i) attempt(step(extreme, reach + toward * static_cast<float>(i)), out_->dmin);
  for (int i = 1; i < kBlockSteps && deepest > 0; ++i) attempt(out_->d, step(deepest, mins - static_cast<float>(i)));
  // The block's own least squares: along d with factors and points as they are.
  double num = 0, den = 0;
  for (int p = 0; p < block_.parts(); ++p) {
    if (out_->scales[p] == 0 || out_->d == 0) continue;
    const double s = out_->scales[p];
    const float offset = out_->dmin * static_cast<float>(out_->mins[p]);
    const Sums sum = sums(p, out_->d * static_cast<float>(out_->scales[p]), offset);
    num += s * (static_cast<double>(sum.hxp) + static_cast<double>(offset) * static_cast<double>(sum.hp));
    den += s * s * static_cast<double>(sum.hpp);
  }
  if (den > 0) attempt(round_to(static_cast<float>(num / den), DType::kF16), out_->dmin);
}

void Fitter::choose_codes() {
  for (int p = 0; p < block_.parts(); ++p) {
    const float scale = out_->d * static_cast<float>(out_->scales[p]);
    const float offset = out_->dmin * static_cast<float>(out_->mins[p]);
    const float inverse = scale != 0 && std::isfinite(1 / scale) ? 1 / scale : 0;
    for (int i = 0; i < size(); ++i)
      out_->codes[p * size() + i] =
          lattice_.points.code(nearest_point(lattice_.points, x(p)[i] + offset, inverse, zero_));
  }
}

}  // namespace

bool fit_block(const BlockCode& block, const float* x, const float* importance, BlockFields* fields) {
  float ones[kMostElements];
  bool weighted = false;  // columns that no token excites say nothing
  for (int i = 0; importance && i < block.elements; ++i) weighted = weighted || importance[i] > 0;
  if (!weighted) std::fill_n(ones, kMostElements, 1.0f);
  return Fitter(block, x, weighted ? importance : ones, fields).run();
}

}  // namespace qz
