// Codes to floats, a run of columns that share a scale at a time.
#include <algorithm>

#include "base/simd.h"
#include "packed/block_code.h"
#include "packed/codebook.h"
#include "packed/qmatrix.h"

namespace qz {
namespace {

QZ_SIMD_CLONES
void integers(const uint8_t* codes, int64_t n, float zero, float scale, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = (static_cast<float>(codes[i]) - zero) * scale;
}

QZ_SIMD_CLONES
void places(const uint8_t* codes, int64_t n, const float* table, float scale, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = table[codes[i]] * scale;
}

// Two roundings, in this order: what bitsandbytes' numbers are.
QZ_SIMD_CLONES
void parts_of_127(const uint8_t* codes, int64_t n, float scale, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = (static_cast<float>(codes[i]) - 128.0f) * scale / 127.0f;
}

// Where the scale of (r, c) is, and the first column after c that has another one.
struct Run {
  int64_t scale, end;
};

Run run_at(const QMatrix& q, int64_t r, int64_t c) {
  const Scheme& s = q.scheme;
  if (s.group == kGroupTensor) return {0, q.cols};
  switch (s.grouping) {
    case Grouping::kRow:
      break;
    case Grouping::kFlat: {
      const int64_t at = r * q.cols + c;
      return {at / s.group, c + s.group - at % s.group};
    }
    case Grouping::kStrided:
      return {(r * q.cols + c) % static_cast<int64_t>(q.scales.size()), c + 1};
    case Grouping::kTile:
      return {r / s.group * s.groups(q.cols) + c / s.group, (c / s.group + 1) * s.group};
  }
  const int64_t base = r * q.groups();
  if (!q.g_idx.empty()) return {base + q.g_idx[static_cast<size_t>(c)], c + 1};
  const int64_t size = s.group_size(q.cols);
  return {base + c / size, (c / size + 1) * size};
}

void decode_blocks(const BlockCode& block, const QMatrix& q, int64_t r, int64_t c0, int64_t c1, float* out) {
  float whole[kMostElements];
  const int64_t size = block.elements;
  const uint8_t* row = q.codes.data() + r * (q.cols / size) * block.bytes;
  for (int64_t c = c0; c < c1;) {
    const int64_t b = c / size, begin = b * size, end = std::min(c1, begin + size);
    if (c == begin && end == begin + size) {
      decode_block(block, row + b * block.bytes, out + (c - c0));
    } else {
      decode_block(block, row + b * block.bytes, whole);
      std::copy(whole + (c - begin), whole + (end - begin), out + (c - c0));
    }
    c = end;
  }
}

}  // namespace

int64_t scale_index(const QMatrix& q, int64_t r, int64_t c) { return run_at(q, r, c).scale; }

void dequantize_part(const QMatrix& q, int64_t r, int64_t c0, int64_t c1, float* out) {
  const Scheme& s = q.scheme;
  if (const BlockCode* block = find_block_code(s.code)) return decode_blocks(*block, q, r, c0, c1, out);
  const uint8_t* codes = q.codes.data() + r * q.cols;
  const float* table = codebook(s.code).data();
  for (int64_t c = c0; c < c1;) {
    const Run run = run_at(q, r, c);
    const int64_t n = std::min(c1, run.end) - c;
    const size_t at = static_cast<size_t>(run.scale);
    const float scale = q.scales[at];
    if (s.code == CodeKind::kInt) {
      const float zero =
          s.float_zero ? q.float_zeros[at] : static_cast<float>(q.zeros.empty() ? s.mid_code() : int32_t{q.zeros[at]});
      integers(codes + c, n, zero, scale, out + (c - c0));
    } else if (s.code == CodeKind::kLlmInt8) {
      parts_of_127(codes + c, n, scale, out + (c - c0));
    } else {
      places(codes + c, n, table, scale, out + (c - c0));
    }
    c += n;
  }
}

void dequantize_row(const QMatrix& q, int64_t r, float* out) { dequantize_part(q, r, 0, q.cols, out); }

Matrix dequantize(const QMatrix& q) {
  Matrix w(q.rows, q.cols);
  for (int64_t r = 0; r < q.rows; ++r) dequantize_row(q, r, w.row(r));
  return w;
}

std::vector<float> nested_scales(const NestedScales& nested, int32_t block) {
  std::vector<float> scales(nested.codes.size());
  for (size_t i = 0; i < scales.size(); ++i) {
    const float product = nested.map[nested.codes[i]] * nested.absmax[i / static_cast<size_t>(block)];
    scales[i] = product + nested.offset;
  }
  return scales;
}

}  // namespace qz
