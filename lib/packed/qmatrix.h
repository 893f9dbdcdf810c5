// The canonical quantized matrix: what a method makes and a format stores. Exact, unpacked, the same on every device.
//   w[r][c] = scale[r][g] * (code[r][c] - zero[r][g]),  g = g_idx.empty() ? c / group : g_idx[c]
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "packed/scheme.h"
#include "tensor/matrix.h"

namespace qz {

struct QMatrix {
  int64_t rows = 0, cols = 0;
  Scheme scheme;
  std::vector<uint8_t> codes;  // [rows][cols], 0 … 2^bits - 1
  std::vector<float> scales;   // [rows][groups]; each is exactly representable in scheme.scale. kGroupTensor: one value
  std::vector<uint8_t> zeros;  // [rows][groups] true zero points; empty when symmetric. kGroupTensor: one value
  std::vector<int32_t> g_idx;  // [cols] group of each column; empty = c / group (no act-order at run time)

  int64_t groups() const { return scheme.groups(cols); }
  float scale(int64_t r, int64_t g) const {
    return scales[static_cast<size_t>(scheme.group == kGroupTensor ? 0 : r * groups() + g)];
  }
  int32_t zero(int64_t r, int64_t g) const {
    if (zeros.empty()) return scheme.mid_code();
    return zeros[static_cast<size_t>(scheme.group == kGroupTensor ? 0 : r * groups() + g)];
  }
  int64_t group_of(int64_t c) const {
    return g_idx.empty() ? (scheme.group > 0 ? c / scheme.group : 0) : g_idx[static_cast<size_t>(c)];
  }
};

// Row r in float32, cols values.
void dequantize_row(const QMatrix& q, int64_t r, float* out);
Matrix dequantize(const QMatrix& q);

// True if g_idx says no more than c / group (or is empty): such a matrix is kept without it.
bool natural_groups(const std::vector<int32_t>& g_idx, int64_t cols, const Scheme& scheme);

// Sizes agree, codes are in range, scales are finite, g_idx is within groups. Bits 2 … 8: a file may hold widths that
// no method makes (check_scheme).
Status check_qmatrix(const QMatrix& q);
// SHA-256 over shape, code, bits, group, symmetry, codes, scales, zeros, g_idx: equal hash, equal matrix. Written into
// the report and proved by verify. The type that the scales are stored in is left out (their values are in), and a
// natural g_idx counts as none, so that a matrix keeps its hash when it moves from one format to another.
std::string hash_qmatrix(const QMatrix& q);

}  // namespace qz
