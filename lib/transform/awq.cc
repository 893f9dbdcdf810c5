#include "transform/awq.h"

#include <algorithm>
#include <cmath>

namespace qz {
namespace {

constexpr float kLeast = 1e-4f, kLeastGroup = 1e-6f;

// Mean over the rows of all layers of |w| relative to the largest of its group.
std::vector<float> weight_size(const Place& place) {
  std::vector<double> sum(place.mean.size());
  int64_t rows = 0;
  for (size_t i = 0; i < place.linears.size(); ++i) {
    const MatrixView& w = place.linears[i];
    rows += w.rows;
    for (int64_t r = 0; r < w.rows; ++r)
      for (int64_t c = 0; c < w.cols; c += place.groups[i]) {
        const int64_t end = std::min(w.cols, c + place.groups[i]);
        float most = kLeastGroup;
        for (int64_t j = c; j < end; ++j) most = std::max(most, std::fabs(w.row(r)[j]) + kLeastGroup);
        for (int64_t j = c; j < end; ++j)
          sum[static_cast<size_t>(j)] += static_cast<double>(std::fabs(w.row(r)[j]) / most);
      }
  }
  std::vector<float> size;
  for (const double v : sum) size.push_back(static_cast<float>(v / static_cast<double>(rows)));
  return size;
}

Scales candidate(const std::vector<float>& x, const std::vector<float>& w, float ratio, bool duo) {
  Scales s(x.size());
  for (size_t j = 0; j < s.size(); ++j) {
    const float up = std::pow(x[j], ratio);
    s[j] = std::max(duo ? up / (std::pow(w[j], 1 - ratio) + kLeast) : up, kLeast);
  }
  const auto [low, high] = std::minmax_element(s.begin(), s.end());
  const float middle = std::sqrt(*low * *high);
  for (float& v : s) {
    v /= middle;
    if (!std::isfinite(v) || !(v > 0)) v = 1;
  }
  return s;
}

}  // namespace

Result<Scales> awq_scales(const Place& place, const TransformOptions& options) {
  std::vector<float> w = weight_size(place);
  share_mean(place.shared, &w);
  std::vector<Scales> candidates;
  for (int32_t i = 0; i < options.grid; ++i)
    candidates.push_back(
        candidate(place.mean, w, static_cast<float>(i) / static_cast<float>(options.grid), options.duo));
  return best_of(place, candidates);
}

}  // namespace qz
