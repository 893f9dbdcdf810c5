#include "method/part_fit.h"

namespace qz {
namespace {

constexpr int kRanges = 16;  // that are tried
constexpr int kPolish = 2;   // least-squares steps after the search
constexpr float kMostRange = 1.06f;

// The smallest range to try: coarse codes gain from stronger clipping.
float least_range(int bits) {
  static constexpr float kLeast[] = {0.3f, 0.3f, 0.35f, 0.45f, 0.55f, 0.7f, 0.8f, 0.9f, 0.96f};
  return kLeast[bits];
}

QZ_LANES_INLINE void inverse_of(const Lanes& scale, Lanes* inverse) {
  *inverse = pick(scale != 0.0f, 1.0f / scale, Lanes{});
}

// The point nearest to v, in units of the scale.
QZ_LANES_INLINE void nearest(const PartGrid& grid, const Lanes& v, Lanes* p) {
  if (grid.points.count == 0) {
    const Lanes most = grid.points.most;
    Lanes code = v + grid.zero;
    code = pick(code < 0.0f, Lanes{}, code);
    code = pick(code > most, most, code);
    round_lanes(&code);
    *p = code - grid.zero;
    return;
  }
  Lanes point = grid.points.first;
  for (int k = 0; k < Points::kMost - 1; ++k) point += pick(v > grid.points.middle[k], grid.points.step[k], Lanes{});
  *p = point;
}

QZ_LANES_INLINE void sum_up(const PartGrid& grid, const Parts& in, const Lanes& scale, const Lanes& offset,
                            PartSums* out) {
  Lanes inverse, p;
  inverse_of(scale, &inverse);
  PartSums s = {};
  for (int i = 0; i < in.n; ++i) {
    const Lanes aim = in.x[i] + offset, h = in.h[i];
    nearest(grid, aim * inverse, &p);
    const Lanes r = aim - scale * p, hr = h * r, hp = h * p;
    s.rr += hr * r;
    s.r += hr;
    s.rp += hr * p;
    s.p += hp;
    s.pp += hp * p;
  }
  *out = s;
}

// Least squares for the points that scale and offset give; kept where it is the best so far.
QZ_LANES_INLINE void consider(const PartGrid& grid, const Parts& in, const Lanes& scale, const Lanes& offset,
                              PartFit* best) {
  PartSums s;
  sum_up(grid, in, scale, offset, &s);
  const Lanes none = {};
  const Lanes alone = pick(s.pp > 0.0f, s.rp / s.pp, none);  // the scale's step when the offset stays
  Lanes by = alone, shift = none;
  if (grid.offset != BlockOffset::kNone) {
    const Lanes det = s.pp * in.total - s.p * s.p;
    const auto both = det > 0.0f;
    by = pick(both, (s.rp * in.total - s.r * s.p) / det, alone);
    shift = pick(both, (by * s.p - s.r) / in.total, none);
    if (grid.offset == BlockOffset::kFactor) {
      const auto below = offset + shift < 0.0f;
      shift = pick(below, -offset, shift);
      by = pick(below, pick(s.pp > 0.0f, (s.rp + shift * s.p) / s.pp, none), by);
    }
  }
  const Lanes error =
      s.rr + 2.0f * (shift * s.r - by * s.rp - shift * by * s.p) + shift * shift * in.total + by * by * s.pp;
  const auto better = error < best->error;
  best->scale = pick(better, scale + by, best->scale);
  best->offset = pick(better, offset + shift, best->offset);
  best->error = pick(better, error, best->error);
}

QZ_SIMD_CLONES
void search_symmetric(const PartGrid& grid, const Parts& in, PartFit* out) {
  Lanes most = {};
  PartFit best = {};
  for (int i = 0; i < in.n; ++i) {
    const Lanes size = pick(in.x[i] < 0.0f, -in.x[i], in.x[i]);
    most = pick(size > most, size, most);
    best.error += in.h[i] * in.x[i] * in.x[i];
  }
  const float first = grid.points.count ? grid.points.first : -grid.zero, least = least_range(grid.bits);
  const Lanes full = most / -first, none = {};
  for (int i = 0; i < kRanges; ++i) {
    const Lanes scale = full * (kMostRange - (kMostRange - least) * static_cast<float>(i) / (kRanges - 1));
    consider(grid, in, scale, none, &best);
    consider(grid, in, -scale, none, &best);  // the end of the points that reaches further may be wanted there
  }
  for (int i = 0; i < kPolish; ++i) {
    const PartFit from = best;
    consider(grid, in, from.scale, from.offset, &best);
  }
  *out = best;
}

QZ_SIMD_CLONES
void search_offset(const PartGrid& grid, const Parts& in, PartFit* out) {
  Lanes low = in.x[0], high = in.x[0];
  for (int i = 1; i < in.n; ++i) {
    low = pick(in.x[i] < low, in.x[i], low);
    high = pick(in.x[i] > high, in.x[i], high);
  }
  if (grid.offset == BlockOffset::kFactor) low = pick(low > 0.0f, Lanes{}, low);
  PartFit best = {Lanes{}, -low, Lanes{}};  // no scale
  for (int i = 0; i < in.n; ++i) best.error += in.h[i] * (in.x[i] - low) * (in.x[i] - low);
  const float reach = grid.points.most, least = least_range(grid.bits);
  const Lanes width = high - low, middle = (low + high) * 0.5f;
  for (int i = 0; i < kRanges; ++i) {
    const float part = static_cast<float>(i) / (kRanges - 1);
    // Fine steps around the whole range from its low end, or clipped at both.
    consider(grid, in, width / (reach - 1 + 2 * part), -low, &best);
    const float range = 1 - (1 - least) * part;
    Lanes offset = width * (range * 0.5f) - middle;
    if (grid.offset == BlockOffset::kFactor) offset = pick(offset < 0.0f, Lanes{}, offset);
    if (i > 0) consider(grid, in, width * (range / reach), offset, &best);
  }
  for (int i = 0; i < kPolish; ++i) {
    const PartFit from = best;
    consider(grid, in, from.scale, from.offset, &best);
  }
  *out = best;
}

}  // namespace

QZ_SIMD_CLONES
void measure(const PartGrid& grid, const Parts& in, const Lanes& scale, const Lanes& offset, PartSums* out) {
  sum_up(grid, in, scale, offset, out);
}

void search_parts(const PartGrid& grid, const Parts& in, PartFit* out) {
  return grid.offset == BlockOffset::kNone ? search_symmetric(grid, in, out) : search_offset(grid, in, out);
}

QZ_SIMD_CLONES
void choose_codes(const PartGrid& grid, const Parts& in, const Lanes& scale, const Lanes& offset,
                  uint8_t codes[kLanes][kMostPart]) {
  Lanes inverse, p;
  inverse_of(scale, &inverse);
  for (int i = 0; i < in.n; ++i) {
    nearest(grid, (in.x[i] + offset) * inverse, &p);
    for (int l = 0; l < kLanes; ++l) codes[l][i] = grid.points.code(p[l] + grid.zero);
  }
}

}  // namespace qz
