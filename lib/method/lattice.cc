#include "method/lattice.h"

#include <algorithm>
#include <cmath>

#include "tensor/convert.h"

namespace qz {

Lattice::Lattice(const Scheme& scheme, int64_t cols)
    : group(scheme.group_size(cols)), one_scale(scheme.group == kGroupTensor), scale(scheme.scale) {
  points.most = static_cast<float>(scheme.max_code());
}

Lattice::Lattice(const BlockCode& block, size_t blocks)
    : group(block.part),
      scale(DType::kF16),
      parts(block.parts()),
      least(block.least_scale),
      most(block.most_scale),
      offset(block.offset),
      most_min(block.most_min) {
  if (least != most) steps.resize(blocks);
  if (offset == BlockOffset::kFactor) offset_steps.resize(blocks);
  points.most = static_cast<float>((1 << block.bits) - 1);
  if (block.uniform) return;
  points.count = 1 << block.bits;
  points.table = block.points;
  points.first = block.points[0];
  for (int k = 0; k + 1 < points.count; ++k) {
    points.middle[k] = (block.points[k] + block.points[k + 1]) / 2;
    points.step[k] = block.points[k + 1] - block.points[k];
  }
}

float Lattice::nearest_scale(size_t at, float wanted) const {
  if (steps.empty()) return storable_scale(wanted, scale);
  const float step = steps[at / static_cast<size_t>(parts)];
  if (step == 0) return kNoScale;
  float factor = std::clamp(std::nearbyint(wanted / step), static_cast<float>(least), static_cast<float>(most));
  if (factor == 0) factor = least < 0 && wanted / step < 0 ? -1.0f : 1.0f;
  return step * factor;
}

float Lattice::nearest_offset(size_t at, float wanted) const {
  if (offset == BlockOffset::kOwn) return round_to(wanted, DType::kF16);
  const float step = offset_steps[at / static_cast<size_t>(parts)];
  if (step == 0) return 0;
  return step * std::clamp(std::nearbyint(wanted / step), 0.0f, static_cast<float>(most_min));
}

}  // namespace qz
