#include "packed/rewrite.h"

#include <algorithm>
#include <cmath>

#include "packed/block_code.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr int32_t kGroups[] = {1024, 512, 256, 128, 64, 32, 16};

bool is_integer_row(const Scheme& s) { return s.code == CodeKind::kInt && s.grouping == Grouping::kRow && !s.nested; }

Status changes(const Scheme& from, const Scheme& to, const char* what) {
  return error(Code::kUnsupported, "%s to %s: %s", scheme_name(from).c_str(), scheme_name(to).c_str(), what);
}

// Scales and zero points as one vector of floats per group, whatever they are in the matrix.
struct Grids {
  std::vector<float> scales, zeros;
};

float zero_of(const QMatrix& q, size_t at) {
  if (q.scheme.float_zero) return q.float_zeros[at];
  return static_cast<float>(q.zeros.empty() ? q.scheme.mid_code() : int32_t{q.zeros[at]});
}

// The groups of q repeated for those of `to`. False if a group of `to` would span two of q.
bool regroup(const QMatrix& q, const Scheme& to, Grids* grids) {
  const int64_t size = to.group_size(q.cols), groups = to.group == kGroupTensor ? 1 : to.groups(q.cols);
  const int64_t from = q.scheme.group_size(q.cols);
  if (to.group == kGroupTensor ? q.scheme.group != kGroupTensor : from % size != 0 && from != q.cols) return false;
  if (size > from) return false;
  const int64_t rows = to.group == kGroupTensor ? 1 : q.rows;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const size_t at = static_cast<size_t>(scale_index(q, r, g * size));
      grids->scales.push_back(q.scales[at]);
      grids->zeros.push_back(zero_of(q, at));
    }
  return true;
}

Result<QMatrix> rewrite_integers(const QMatrix& q, const Scheme& to) {
  QMatrix out = q;
  out.scheme = to;
  out.zeros.clear();
  out.float_zeros.clear();
  Grids grids;
  if (!q.g_idx.empty()) {
    if (to.group != q.scheme.group) return changes(q.scheme, to, "g_idx belongs to the groups that there are");
    grids.scales = q.scales;
    for (size_t i = 0; i < q.scales.size(); ++i) grids.zeros.push_back(zero_of(q, i));
  } else if (!regroup(q, to, &grids)) {
    return changes(q.scheme, to, "groups would have to share scales that differ");
  }
  out.scales = std::move(grids.scales);
  for (const float zero : grids.zeros) {
    if (to.float_zero) {
      out.float_zeros.push_back(zero);
      continue;
    }
    if (to.symmetric && zero != static_cast<float>(to.mid_code()))
      return changes(q.scheme, to, "zero points are not all in the middle");
    if (std::trunc(zero) != zero || zero < 0 || zero > static_cast<float>(to.max_code()))
      return changes(q.scheme, to, "zero points are no integers within the codes");
    if (!to.symmetric) out.zeros.push_back(static_cast<uint8_t>(zero));
  }
  return out;
}

// (code - 128) scale / 127 with one rounding more than (code - 128) (scale / 127): compared number by number.
Result<QMatrix> rewrite_llm_int8(const QMatrix& q, const Scheme& to) {
  QMatrix out = q;
  out.scheme = to;
  for (float& scale : out.scales) scale = to.code == CodeKind::kLlmInt8 ? scale * 127.0f : scale / 127.0f;
  std::vector<float> a(static_cast<size_t>(q.cols)), b(a.size());
  for (int64_t r = 0; r < q.rows; ++r) {
    dequantize_row(q, r, a.data());
    dequantize_row(out, r, b.data());
    if (a != b) return changes(q.scheme, to, "scales in parts of 127 round to other numbers");
  }
  return out;
}

// Blocks of 32 with one f16 scale and codes around the middle.
bool simple_block(const Scheme& s, int32_t* bits) {
  const BlockCode* block = find_block_code(s.code);
  if (!block || (block->ggml_type != 2 && block->ggml_type != 8)) return false;
  *bits = block->bits;
  return true;
}

float read_scale(const uint8_t* block) { return f16_to_f32(static_cast<uint16_t>(block[0] | block[1] << 8)); }

Result<QMatrix> from_blocks(const QMatrix& q, const Scheme& to) {
  const BlockCode& block = *find_block_code(q.scheme.code);
  QMatrix out;
  out.rows = q.rows;
  out.cols = q.cols;
  out.scheme = to;
  const int64_t half = block.elements / 2;
  for (int64_t b = 0; b < q.rows * q.cols / block.elements; ++b) {
    const uint8_t* at = q.codes.data() + b * block.bytes;
    const float scale = read_scale(at);
    if (!std::isfinite(scale)) return changes(q.scheme, to, "a scale is not finite");
    out.scales.push_back(scale);
    for (int64_t j = 0; j < block.elements; ++j)
      out.codes.push_back(to.bits == 8 ? static_cast<uint8_t>(at[2 + j] + 128)
                                       : static_cast<uint8_t>(j < half ? at[2 + j] & 15 : at[2 + j - half] >> 4));
  }
  return out;
}

Result<QMatrix> to_blocks(const QMatrix& q, const Scheme& to) {
  const BlockCode& block = *find_block_code(to.code);
  Scheme narrow = {CodeKind::kInt, block.bits, block.elements, true, q.scheme.scale};
  QZ_ASSIGN(const QMatrix grid, rewrite_integers(q, narrow));
  QMatrix out;
  out.rows = q.rows;
  out.cols = q.cols;
  out.scheme = to;
  const int64_t half = block.elements / 2;
  for (size_t b = 0; b < grid.scales.size(); ++b) {
    const uint16_t scale = f32_to_f16(grid.scales[b]);
    if (f16_to_f32(scale) != grid.scales[b]) return changes(q.scheme, to, "a scale is not exact in F16");
    const uint8_t* codes = grid.codes.data() + b * static_cast<size_t>(block.elements);
    out.codes.push_back(static_cast<uint8_t>(scale & 255));
    out.codes.push_back(static_cast<uint8_t>(scale >> 8));
    for (int64_t j = 0; j < (block.bits == 8 ? block.elements : half); ++j)
      out.codes.push_back(block.bits == 8 ? static_cast<uint8_t>(codes[j] - 128)
                                          : static_cast<uint8_t>(codes[j] | codes[j + half] << 4));
  }
  return out;
}

}  // namespace

std::vector<Scheme> rewritings(const Scheme& from, int64_t cols) {
  std::vector<Scheme> out = {from};
  const auto add = [&](Scheme s) {
    s.scale = from.scale;
    s.compute = from.compute;
    if (check_consistent(s).ok() && std::find(out.begin(), out.end(), s) == out.end()) out.push_back(s);
  };
  Scheme base = from;
  int32_t bits = 0;
  if (simple_block(from, &bits)) {
    base = {CodeKind::kInt, bits, 32, true};
    add(base);
  } else if (from.code == CodeKind::kLlmInt8) {
    add({CodeKind::kInt, 8, kGroupRow, true});
    return out;
  }
  if (!is_integer_row(base)) return out;
  std::vector<int32_t> groups = {base.group};
  if (base.group < 0 && base.group != kGroupRow) groups.push_back(kGroupRow);
  for (const int32_t g : kGroups)
    if (base.group_size(cols) % g == 0 && g < base.group_size(cols)) groups.push_back(g);
  for (const int32_t group : groups)
    for (const int kind : {0, 1, 2}) {  // symmetric, asymmetric, float zero points
      Scheme s = base;
      s.group = group;
      s.symmetric = kind == 0;
      s.float_zero = kind == 2;
      add(s);
    }
  if (base.activations != Activations::kNone) return out;
  for (const BlockCode& block : block_codes())
    if (Scheme s = block_scheme(block); simple_block(s, &bits) && bits == base.bits && cols % s.group == 0) add(s);
  if (base.bits == 8) add({CodeKind::kLlmInt8, 8, kGroupRow, true});
  return out;
}

Result<QMatrix> rewrite(const QMatrix& q, const Scheme& to) {
  const Scheme& from = q.scheme;
  Scheme same = to;
  same.scale = from.scale;
  same.compute = from.compute;
  if (same == from) {
    QMatrix out = q;
    out.scheme = to;
    return out;
  }
  if (from.activations != to.activations) return changes(from, to, "what happens to the inputs would change");
  int32_t bits = 0;
  if (is_integer_row(from) && is_integer_row(to) && from.bits == to.bits) return rewrite_integers(q, to);
  if (is_integer_row(from) && from.bits == 8 && from.group == kGroupRow && from.symmetric &&
      to.code == CodeKind::kLlmInt8)
    return rewrite_llm_int8(q, to);
  if (from.code == CodeKind::kLlmInt8 && is_integer_row(to) && to.bits == 8 && to.group == kGroupRow && to.symmetric)
    return rewrite_llm_int8(q, to);
  if (is_integer_row(from) && simple_block(to, &bits) && from.bits == bits) return to_blocks(q, to);
  if (simple_block(from, &bits) && is_integer_row(to)) {
    QZ_ASSIGN(const QMatrix grid, from_blocks(q, {CodeKind::kInt, bits, 32, true, to.scale}));
    return rewrite_integers(grid, to);
  }
  return changes(from, to, "the codes stand for other numbers");
}

}  // namespace qz
