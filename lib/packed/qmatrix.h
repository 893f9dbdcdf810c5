// The canonical quantized matrix: what a method makes and a format stores. Exact, unpacked, the same on every device.
//   integers: w[r][c] = (code - zero) * scale    tables: w[r][c] = table[code] * scale    blocks: see block_code.h
// with scale and zero of the group of (r, c): scheme.grouping, or g_idx[c].
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "packed/scheme.h"
#include "tensor/matrix.h"

namespace qz {

// Scales that are codes themselves: scale[i] = map[codes[i]] * absmax[i / scheme.nested] + offset, in float32. The
// parts are kept because they cannot be found from the scales.
struct NestedScales {
  std::vector<uint8_t> codes;  // one per scale
  std::vector<float> absmax;   // one per `scheme.nested` codes; the last block may be short
  std::vector<float> map;      // 256
  float offset = 0;
};

struct QMatrix {
  int64_t rows = 0, cols = 0;
  Scheme scheme;
  std::vector<uint8_t> codes;      // [rows][cols], 0 … 2^bits - 1. Blocks: [rows][cols / elements][bytes of a block]
  std::vector<float> scales;       // by group, each exactly representable in scheme.scale. kRow: [rows][groups];
                                   // kGroupTensor: one; kFlat, kStrided: [groups]; kTile: [row tiles][column tiles]
  std::vector<uint8_t> zeros;      // like scales: true zero points; empty when symmetric
  std::vector<int32_t> g_idx;      // [cols] group of each column; empty = c / group (no act-order at run time)
  std::vector<float> float_zeros;  // like scales, with scheme.float_zero (`zeros` is empty then)
  NestedScales nested;             // with scheme.nested
  float input_scale = 0;           // Activations::kTensor: x = input_scale * code, code an integer or an FP8 number

  // Of Grouping::kRow.
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

// Which of q.scales is that of (r, c); q.scheme is no block code (dequantize.cc).
int64_t scale_index(const QMatrix& q, int64_t r, int64_t c);
// Columns [c0, c1) of row r in float32 (dequantize.cc).
void dequantize_part(const QMatrix& q, int64_t r, int64_t c0, int64_t c1, float* out);
// Row r in float32, cols values.
void dequantize_row(const QMatrix& q, int64_t r, float* out);
Matrix dequantize(const QMatrix& q);
// The scales that the nested parts stand for.
std::vector<float> nested_scales(const NestedScales& nested, int32_t block);

// True if g_idx says no more than c / group (or is empty): such a matrix is kept without it.
bool natural_groups(const std::vector<int32_t>& g_idx, int64_t cols, const Scheme& scheme);

// Sizes agree, codes are in range and numbers, scales are finite, g_idx is within groups. Integers of 1 … 8 bits: a
// file may hold widths that no method makes (check_scheme).
Status check_qmatrix(const QMatrix& q);
// SHA-256 over shape, code, bits, group, symmetry, codes, scales, zeros, g_idx, and what other codes need: equal hash,
// equal matrix. Written into the report and proved by verify. The type that the scales are stored in is left out (their
// values are in), and a natural g_idx counts as none, so that a matrix keeps its hash when it moves from one format to
// another.
std::string hash_qmatrix(const QMatrix& q);

}  // namespace qz
