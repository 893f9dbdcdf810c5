#include "transform/smoothquant.h"

#include <algorithm>
#include <cmath>

namespace qz {
namespace {

constexpr double kAlphas[] = {0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};

Scales scales_for(const std::vector<float>& x, const std::vector<float>& w, double alpha) {
  Scales s(x.size(), 1.0f);
  for (size_t j = 0; j < s.size(); ++j) {
    if (!(x[j] > 0) || !(w[j] > 0)) continue;
    const double up = std::pow(static_cast<double>(x[j]), alpha), down = std::pow(static_cast<double>(w[j]), 1 - alpha);
    const auto v = static_cast<float>(std::max(up / down, 1e-5));
    if (std::isfinite(v)) s[j] = v;
  }
  return s;
}

}  // namespace

Result<Scales> smooth_scales(const Place& place, const TransformOptions& options) {
  std::vector<float> w(place.mean.size());
  for (const MatrixView& linear : place.linears)
    for (int64_t r = 0; r < linear.rows; ++r)
      for (int64_t c = 0; c < linear.cols; ++c)
        w[static_cast<size_t>(c)] = std::max(w[static_cast<size_t>(c)], std::fabs(linear.row(r)[c]));
  share_most(place.shared, &w);
  if (options.alpha != kSearchedAlpha) return scales_for(place.most, w, options.alpha);
  std::vector<Scales> candidates;
  for (const double alpha : kAlphas) candidates.push_back(scales_for(place.most, w, alpha));
  return best_of(place, candidates);
}

}  // namespace qz
