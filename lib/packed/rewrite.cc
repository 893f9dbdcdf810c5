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

// Blocks whose only scale is one F16 number, on a uniform grid: integers in groups. Null otherwise.
const BlockCode* simple_block(const Scheme& s) {
  const BlockCode* block = find_block_code(s.code);
  return block && block->uniform && block->part == block->elements ? block : nullptr;
}

// The integers that a simple block could be: 4-bit codes with an offset are asymmetric where the offset is a multiple
// of the scale.
Scheme grid_of(const BlockCode& block, DType scale) {
  return {CodeKind::kInt, block.bits, block.elements, block.offset == BlockOffset::kNone, scale};
}

Result<QMatrix> from_blocks(const QMatrix& q, const Scheme& to) {
  const BlockCode& block = *simple_block(q.scheme);
  QMatrix out;
  out.rows = q.rows;
  out.cols = q.cols;
  out.scheme = grid_of(block, to.scale);
  for (int64_t b = 0; b < q.rows * q.cols / block.elements; ++b) {
    BlockFields f;
    block.unpack(q.codes.data() + b * block.bytes, &f);
    if (!std::isfinite(f.d) || !std::isfinite(f.dmin)) return changes(q.scheme, to, "a scale is not finite");
    out.scales.push_back(f.d);
    out.codes.insert(out.codes.end(), f.codes, f.codes + block.elements);
    if (block.offset == BlockOffset::kNone) continue;
    // w = code d + m is (code - zero) d only if m is a whole number of steps; the two ways to compute it then agree.
    const float zero = f.dmin == 0 ? 0 : -f.dmin / f.d;
    if (!(zero >= 0 && zero <= static_cast<float>(out.scheme.max_code())) || std::trunc(zero) != zero)
      return changes(q.scheme, to, "an offset is not a whole number of steps within the codes");
    out.zeros.push_back(static_cast<uint8_t>(zero));
  }
  return out;
}

Result<QMatrix> to_blocks(const QMatrix& q, const Scheme& to) {
  const BlockCode& block = *simple_block(to);
  QZ_ASSIGN(const QMatrix grid, rewrite_integers(q, grid_of(block, q.scheme.scale)));
  QMatrix out;
  out.rows = q.rows;
  out.cols = q.cols;
  out.scheme = to;
  out.codes.resize(grid.scales.size() * static_cast<size_t>(block.bytes));
  for (size_t b = 0; b < grid.scales.size(); ++b) {
    BlockFields f;
    f.d = grid.scales[b];
    f.scales[0] = 1;
    f.dmin = grid.zeros.empty() ? 0 : -static_cast<float>(grid.zeros[b]) * f.d;
    f.mins[0] = -1;
    if (round_to(f.d, DType::kF16) != f.d) return changes(q.scheme, to, "a scale is not exact in F16");
    if (round_to(f.dmin, DType::kF16) != f.dmin)
      return changes(q.scheme, to, "an offset, which is minus the zero point times the scale, is not exact in F16");
    std::copy_n(grid.codes.data() + b * static_cast<size_t>(block.elements), block.elements, f.codes);
    block.pack(f, out.codes.data() + b * static_cast<size_t>(block.bytes));
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
  if (const BlockCode* block = simple_block(from)) {
    base = grid_of(*block, from.scale);
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
    if (const Scheme s = block_scheme(block); simple_block(s) && block.bits == base.bits && cols % s.group == 0) add(s);
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
  if (is_integer_row(from) && is_integer_row(to) && from.bits == to.bits) return rewrite_integers(q, to);
  if (is_integer_row(from) && from.bits == 8 && from.group == kGroupRow && from.symmetric &&
      to.code == CodeKind::kLlmInt8)
    return rewrite_llm_int8(q, to);
  if (from.code == CodeKind::kLlmInt8 && is_integer_row(to) && to.bits == 8 && to.group == kGroupRow && to.symmetric)
    return rewrite_llm_int8(q, to);
  if (const BlockCode* block = simple_block(to); block && is_integer_row(from) && from.bits == block->bits)
    return to_blocks(q, to);
  if (const BlockCode* block = simple_block(from); block && is_integer_row(to) && to.bits == block->bits) {
    QZ_ASSIGN(const QMatrix grid, from_blocks(q, to));
    return rewrite_integers(grid, to);
  }
  return changes(from, to, "the codes stand for other numbers");
}

}  // namespace qz
