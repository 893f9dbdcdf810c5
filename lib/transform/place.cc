#include "transform/place.h"

#include <algorithm>

namespace qz {

Result<Scales> best_of(const Place& place, const std::vector<Scales>& candidates) {
  Scales best(place.mean.size(), 1.0f);
  QZ_ASSIGN(double least, place.error(best));
  for (const Scales& s : candidates) {
    QZ_ASSIGN(const double found, place.error(s));
    if (!(found < least)) continue;
    least = found;
    best = s;
  }
  return best;
}

void share_mean(const std::vector<int64_t>& shared, std::vector<float>* values) {
  if (shared.empty()) return;
  const auto numbers = static_cast<size_t>(*std::max_element(shared.begin(), shared.end()) + 1);
  std::vector<double> sum(numbers), count(numbers);
  for (size_t c = 0; c < shared.size(); ++c) {
    sum[static_cast<size_t>(shared[c])] += static_cast<double>((*values)[c]);
    count[static_cast<size_t>(shared[c])] += 1;
  }
  for (size_t c = 0; c < shared.size(); ++c) {
    const auto i = static_cast<size_t>(shared[c]);
    (*values)[c] = static_cast<float>(sum[i] / count[i]);
  }
}

void share_most(const std::vector<int64_t>& shared, std::vector<float>* values) {
  if (shared.empty()) return;
  std::vector<float> most(static_cast<size_t>(*std::max_element(shared.begin(), shared.end()) + 1));
  for (size_t c = 0; c < shared.size(); ++c) {
    float& m = most[static_cast<size_t>(shared[c])];
    m = std::max(m, (*values)[c]);
  }
  for (size_t c = 0; c < shared.size(); ++c) (*values)[c] = most[static_cast<size_t>(shared[c])];
}

}  // namespace qz
