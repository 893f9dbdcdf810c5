#include "packed/bricks.h"

#include <algorithm>
#include <bit>

#include "base/checked.h"
#include "packed/layout.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr int32_t kLeastGroup = 16;  // an atom's columns

// 0: the row.
int32_t group_of(const QMatrix& q) { return q.scheme.group < 0 || q.scheme.group >= q.cols ? 0 : q.scheme.group; }

DType narrowest(const std::vector<float>& scales) {
  for (const DType dtype : {DType::kF16, DType::kBF16})
    if (std::all_of(scales.begin(), scales.end(), [dtype](float v) { return round_to(v, dtype) == v; })) return dtype;
  return DType::kF32;
}

Status reserve(int64_t bytes, AlignedBytes* out) {
  *out = AlignedBytes(static_cast<size_t>(bytes));
  if (out->empty())
    return error(Code::kOutOfMemory, "no memory for %lld bytes of bricks", static_cast<long long>(bytes));
  return {};
}

void lay_stripe(const QMatrix& q, int64_t stripe, Bricks* b) {
  const int64_t groups = brick_groups(q.cols, b->group), wide = bricks_of(q.cols) * kBrickSide;
  auto* words = static_cast<uint32_t*>(static_cast<void*>(b->codes.data()));
  const int64_t last = std::min<int64_t>((stripe + 1) * kBrickSide, q.rows), width = dtype_bits(b->scale_type) / 8;
  for (int64_t r = stripe * kBrickSide; r < last; ++r) {
    for (int64_t c = 0; c < wide; ++c) {
      const int64_t g = std::min(b->group ? c / b->group : 0, groups - 1);
      const int32_t code = c < q.cols ? q.codes[static_cast<size_t>(r * q.cols + c)] : q.zero(r, g);
      const BrickPlace at = brick_place(r, c, q.cols);
      words[at.word] |= static_cast<uint32_t>(code) << at.shift;
    }
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = brick_scale_place(r, g, groups);
      const float scale = q.scale(r, g);
      from_f32(&scale, b->scale_type, 1, b->scales.data() + at * width);
      if (!b->zeros.empty()) b->zeros.data()[at] = static_cast<uint8_t>(q.zero(r, g));
    }
  }
}

}  // namespace

Status check_bricks(const QMatrix& q) {
  const Scheme& s = q.scheme;
  const char* why = nullptr;
  if (!s.is_grid()) why = "its codes are not integers with integer zero points in groups along rows";
  if (!why && s.bits > 4) why = "its codes have more than 4 bits";
  if (!why && !natural_groups(q.g_idx, q.cols, s)) why = "its groups are not runs of columns (g_idx)";
  const int32_t group = group_of(q);
  if (!why && group && (group < kLeastGroup || !std::has_single_bit(static_cast<uint32_t>(group))))
    why = "its groups are not a power of two of at least 16 columns";
  const auto most = q.zeros.empty() ? q.zeros.end() : std::max_element(q.zeros.begin(), q.zeros.end());
  if (!why && most != q.zeros.end() && *most > 15) why = "a zero point is larger than 15";
  return why ? error(Code::kUnsupported, "a matrix %s cannot be laid out for a GPU: %s", scheme_name(s).c_str(), why)
             : Status();
}

Result<Bricks> lay_bricks(const Context& context, const QMatrix& q) {
  QZ_TRY(check_bricks(q));
  Bricks b;
  b.rows = q.rows, b.cols = q.cols;
  b.group = group_of(q);
  b.zero = q.scheme.mid_code();
  b.scale_type = narrowest(q.scales);
  const int64_t stripes = bricks_of(q.rows), scales = stripes * brick_groups(q.cols, b.group) * kBrickSide;
  QZ_TRY(reserve(stripes * bricks_of(q.cols) * kBrickWords * 4, &b.codes));
  QZ_TRY(reserve(scales * dtype_bits(b.scale_type) / 8, &b.scales));
  if (!q.zeros.empty()) QZ_TRY(reserve(scales, &b.zeros));
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(stripes), [&](uint32_t stripe, uint32_t) -> Status {
    lay_stripe(q, stripe, &b);
    return {};
  }));
  return b;
}

}  // namespace qz
