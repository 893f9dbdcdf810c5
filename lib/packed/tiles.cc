#include "packed/tiles.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"
#include "packed/codebook.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// The narrowest stored width that holds codes of `bits`.
int32_t stored_bits(int32_t bits) { return bits <= 2 ? 2 : bits <= 4 ? bits : 8; }

bool exact_in(const std::vector<float>& values, DType dtype) {
  return std::all_of(values.begin(), values.end(), [dtype](float v) { return round_to(v, dtype) == v; });
}

// Columns of each group in the order of places, with what fills each group up to whole units.
void lay_out_groups(const QMatrix& q, TiledWeights* w) {
  const int64_t unit = tile_layout(w->bits).columns;
  const Scheme& s = q.scheme;
  const int64_t size = s.group > 0 ? std::min<int64_t>(s.group, q.cols) : q.cols, groups = ceil_div(q.cols, size);
  std::vector<int32_t> columns(static_cast<size_t>(q.cols));
  std::iota(columns.begin(), columns.end(), 0);
  const auto group_of = [&](int32_t c) -> int64_t {
    return q.g_idx.empty() ? c / size : q.g_idx[static_cast<size_t>(c)];
  };
  if (!q.g_idx.empty()) {
    std::stable_sort(columns.begin(), columns.end(), [&](int32_t a, int32_t b) { return group_of(a) < group_of(b); });
  }
  w->starts.assign(1, 0);
  auto next = columns.begin();
  for (int64_t g = 0; g < groups; ++g) {
    while (next != columns.end() && group_of(*next) == g) w->order.push_back(*next++);
    w->order.resize(static_cast<size_t>(round_up(static_cast<int64_t>(w->order.size()), unit)), -1);
    w->starts.push_back(static_cast<int32_t>(w->order.size()));
  }
  std::sort(columns.begin(), columns.end());
  if (w->order == columns) w->order.clear();  // every place is its column
}

// Codes of one row into lane r of the tile.
template <int32_t kBits>
void fill_lane(const uint8_t* codes, int64_t units, int64_t r, uint32_t* lines) {
  constexpr TileLayout kLayout = tile_layout(kBits);
  for (int64_t u = 0; u < units; ++u, codes += kLayout.columns, lines += kLayout.lines * kLineWords) {
    uint32_t words[kLayout.lines] = {};
#pragma GCC unroll 32
    for (int32_t k = 0; k < kLayout.columns; ++k) {
      const BitPlace first = bit_place(kBits, k, 0);
      if (bit_place(kBits, k, kBits - 1).line == first.line) {
        words[first.line] |= static_cast<uint32_t>(codes[k]) << first.bit;
        continue;
      }
      for (int32_t b = 0; b < kBits; ++b) {
        const BitPlace at = bit_place(kBits, k, b);
        words[at.line] |= (codes[k] >> b & 1u) << at.bit;
      }
    }
    for (int32_t l = 0; l < kLayout.lines; ++l) lines[l * kLineWords + r] = words[l];
  }
}

void put(AlignedBytes* to, DType type, int64_t i, float value) {
  from_f32(&value, type, 1, to->data() + i * static_cast<int64_t>(dtype_bits(type) / 8));
}

// The code whose table entry is 0. A float zero point is not split: the difference would round.
int32_t middle_of(const Scheme& s, int32_t bits) { return s.float_zero && bits < 8 ? 0 : 1 << (bits - 1); }

// What the table or the kernels' 8-bit values leave of the zero point.
float offset_of(const QMatrix& q, int32_t bits, size_t scale) {
  const Scheme& s = q.scheme;
  if (s.code == CodeKind::kNf4 || s.code == CodeKind::kFp4) return 0;
  const auto middle = static_cast<float>(middle_of(s, bits));
  if (s.code == CodeKind::kLlmInt8) return 128 - middle;
  if (s.float_zero) return q.float_zeros[scale] - middle;
  return static_cast<float>(q.zeros.empty() ? s.mid_code() : int32_t{q.zeros[scale]}) - middle;
}

void fill_tile(const QMatrix& q, int64_t tile, TiledWeights* w) {
  const int64_t places = w->places(), groups = w->groups(), first = tile * kTileRows;
  auto* lines = static_cast<uint32_t*>(static_cast<void*>(w->lines.data() + tile * w->line_bytes()));
  const int64_t units = places / tile_layout(w->bits).columns;
  std::vector<uint8_t> ordered(w->order.size());
  for (int64_t r = 0; r < std::min(kTileRows, q.rows - first); ++r) {
    const uint8_t* codes = q.codes.data() + (first + r) * q.cols;
    if (!w->order.empty()) {
      for (size_t p = 0; p < ordered.size(); ++p) ordered[p] = w->order[p] < 0 ? uint8_t{0} : codes[w->order[p]];
      codes = ordered.data();
    }
    if (w->bits == 2) fill_lane<2>(codes, units, r, lines);
    if (w->bits == 3) fill_lane<3>(codes, units, r, lines);
    if (w->bits == 4) fill_lane<4>(codes, units, r, lines);
    if (w->bits == 8) fill_lane<8>(codes, units, r, lines);
    for (int64_t g = 0; g < groups; ++g) {
      const int32_t start = w->starts[static_cast<size_t>(g)];
      if (start == w->starts[static_cast<size_t>(g + 1)]) continue;  // of no column, by g_idx
      const int64_t column = w->order.empty() ? start : w->order[static_cast<size_t>(start)];
      const auto scale = static_cast<size_t>(scale_index(q, first + r, column));
      const int64_t at = (tile * groups + g) * kTileRows + r;
      const bool parts = q.scheme.code == CodeKind::kLlmInt8;
      put(&w->scales, w->scale_type, at, parts ? q.scales[scale] / 127 : q.scales[scale]);
      if (!w->offsets.empty()) put(&w->offsets, w->offset_type, at, offset_of(q, w->bits, scale));
    }
  }
}

DType narrowest(const QMatrix& q) {
  if (q.scheme.code == CodeKind::kLlmInt8) return DType::kF32;
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    if (exact_in(q.scales, dtype)) return dtype;
  }
  return DType::kF32;
}

// AlignedBytes or why not.
Status reserve(uint64_t bytes, AlignedBytes* out) {
  *out = AlignedBytes(bytes);
  if (out->empty()) return error(Code::kOutOfMemory, "no memory for a tiled matrix of %zu bytes", size_t{bytes});
  return {};
}

}  // namespace

bool can_tile(const QMatrix& q) {
  const Scheme& s = q.scheme;
  if (s.code != CodeKind::kInt && s.code != CodeKind::kNf4 && s.code != CodeKind::kFp4 && s.code != CodeKind::kLlmInt8)
    return false;
  if (q.cols > (1 << 28)) return false;  // places are 32-bit numbers
  if (s.group == kGroupTensor || s.grouping == Grouping::kRow || s.grouping == Grouping::kTile) return true;
  return s.grouping == Grouping::kFlat && (q.cols % s.group == 0 || s.group % q.cols == 0);
}

Result<TiledWeights> tile_matrix(const Context& context, const QMatrix& q, Progress* progress) {
  TiledWeights w;
  w.rows = q.rows, w.cols = q.cols;
  w.bits = stored_bits(q.scheme.bits);
  const std::vector<float>& table = codebook(q.scheme.code);
  w.linear = table.empty();
  for (int32_t i = 0; i < 16 && w.bits < 8; ++i) {
    const int32_t code = i & ((1 << w.bits) - 1);
    w.table[i] = w.linear ? static_cast<float>(code - middle_of(q.scheme, w.bits)) : table[static_cast<size_t>(code)];
  }
  lay_out_groups(q, &w);
  w.scale_type = narrowest(q);
  const auto scales = static_cast<uint64_t>(w.tiles() * w.groups() * kTileRows);
  QZ_TRY(reserve(static_cast<uint64_t>(w.tiles() * w.line_bytes()), &w.lines));
  QZ_TRY(reserve(scales * dtype_bits(w.scale_type) / 8, &w.scales));
  // Whole numbers below 256 are exact in bfloat16.
  w.offset_type = q.scheme.float_zero ? DType::kF32 : DType::kBF16;
  if (!q.zeros.empty() || !q.float_zeros.empty() || offset_of(q, w.bits, 0) != 0)
    QZ_TRY(reserve(scales * dtype_bits(w.offset_type) / 8, &w.offsets));
  QZ_TRY(parallel_for(
      context, static_cast<uint32_t>(w.tiles()),
      [&](uint32_t tile, uint32_t) -> Status {
        fill_tile(q, tile, &w);
        return {};
      },
      progress));
  return w;
}

}  // namespace qz
