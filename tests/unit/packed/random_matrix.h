// Canonical matrices of any scheme with random codes, scales and zero points.
#pragma once
#include <random>

#include "packed/qmatrix.h"
#include "tensor/convert.h"

namespace qz {

inline QMatrix random_matrix(int64_t rows, int64_t cols, const Scheme& scheme, uint32_t seed, bool act_order = false) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> code(0, scheme.max_code());
  std::uniform_real_distribution<float> scale(0.001f, 0.02f);
  QMatrix q;
  q.rows = rows, q.cols = cols, q.scheme = scheme;
  for (int64_t i = 0; i < rows * cols; ++i) q.codes.push_back(static_cast<uint8_t>(code(random)));
  const DType type = scheme.scale == DType::kNone ? DType::kF32 : scheme.scale;
  for (int64_t i = 0; i < scheme.scale_count(rows, cols); ++i) {
    q.scales.push_back(round_to(scale(random), type));
    if (scheme.float_zero) {
      q.float_zeros.push_back(scale(random) * 300);
    } else if (!scheme.symmetric) {
      q.zeros.push_back(static_cast<uint8_t>(code(random)));
    }
  }
  if (act_order) {
    for (int64_t c = 0; c < cols; ++c) q.g_idx.push_back(static_cast<int32_t>(c * 7919 % cols / scheme.group));
  }
  return q;
}

}  // namespace qz
