#include "method/block_fit.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "method/error_weight.h"
#include "method/part_fit.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr float kMostWeight = 1e10f;  // more than any code times any factor times the largest F16 number
constexpr int kStarts = 3;            // scales of a block that follow from its largest part's
constexpr int kRefits = 2;            // least-squares steps after them

float half(float v) { return round_to(v, DType::kF16); }

// What blocks store: in each lane what is its part's, d and dmin its block's.
struct Factors {
  Lanes d, dmin, scales, mins;
};

// Factors of d and dmin near what the parts want; the sums for what is chosen.
QZ_SIMD_CLONES
void choose_factors(const BlockCode& block, const PartGrid& grid, const Parts& in, const PartFit& fit, Factors* f,
                    PartSums* chosen) {
  const Lanes none = {}, least = static_cast<float>(block.least_scale);
  const Lanes most = static_cast<float>(block.most_scale), most_min = static_cast<float>(block.most_min);
  const Lanes d = f->d, dmin = f->dmin;
  Lanes near = pick(d != 0.0f, fit.scale / d, none);
  near = pick(near < least, least, near);
  near = pick(near > most, most, near);
  round_lanes(&near);
  for (int step = 0; step < 3; ++step) {
    Lanes s = near + (step == 2 ? 1.0f : -1.0f * static_cast<float>(step)), m = none;
    s = pick(s < least, least, s);
    s = pick(s > most, most, s);
    const Lanes scale = d * s;
    PartSums sums;
    if (block.offset == BlockOffset::kFactor) {
      measure(grid, in, scale, fit.offset, &sums);
      m = pick(dmin != 0.0f, (fit.offset - sums.r / in.total) / dmin, none);
      m = pick(m < 0.0f, none, m);
      m = pick(m > most_min, most_min, m);
      round_lanes(&m);
    }
    measure(grid, in, scale, dmin * m, &sums);
    const LaneMask better = step == 0 ? sums.rr == sums.rr : sums.rr < chosen->rr;
    f->scales = pick(better, s, f->scales);
    f->mins = pick(better, m, f->mins);
    chosen->rr = pick(better, sums.rr, chosen->rr);
    chosen->r = pick(better, sums.r, chosen->r);
    chosen->rp = pick(better, sums.rp, chosen->rp);
    chosen->p = pick(better, sums.p, chosen->p);
    chosen->pp = pick(better, sums.pp, chosen->pp);
  }
}

// floor: magnitude_floor() of each lane's block.
QZ_SIMD_CLONES
void weigh_errors(const Lanes& floor, Parts* in) {
  for (int i = 0; i < in->n; ++i) {
    const Lanes squares = floor + in->x[i] * in->x[i];
    for (int l = 0; l < kLanes; ++l) in->h[i][l] *= std::sqrt(squares[l]);
  }
}

// As many blocks as fill the lanes with their parts.
class Batch {
 public:
  Batch(const BlockCode& block, const Points& points) : block_(block), grid_(block, points), parts_(block.parts()) {}

  int blocks() const { return kLanes / parts_; }
  // `count` blocks, at most blocks(): the other lanes repeat the first block. False: a scale does not fit F16.
  bool fit(int count, const float* x, const float* importance, uint8_t* bytes);

 private:
  // Makes the errors of large weights count more.
  void weigh();
  void load(int count, const float* x, const float* importance);
  void plain();
  void search();
  // From the part that reaches furthest, which takes the largest factor but `less`.
  void start(int less, Factors* f) const;
  // Along d and dmin, with factors and points as they are.
  void refit(const PartSums& sums, Factors* f) const;
  bool store(int count, uint8_t* bytes) const;

  const BlockCode& block_;
  const PartGrid grid_;
  const int parts_;
  Parts in_;
  PartFit fit_;
  Factors best_;
};

void Batch::load(int count, const float* x, const float* importance) {
  static const std::array<float, kMostPart> ones = [] {
    std::array<float, kMostPart> v;
    v.fill(1);
    return v;
  }();
  const float *weights[kLanes], *errors[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const int64_t b = l / parts_ < count ? l / parts_ : 0, first = b * block_.elements;
    const int64_t at = first + l % parts_ * block_.part;
    // Columns that no token excites say nothing.
    const bool weighted = importance && std::any_of(importance + first, importance + first + block_.elements,
                                                    [](float h) { return h > 0; });
    weights[l] = x + at;
    errors[l] = weighted ? importance + at : ones.data();
  }
  in_.n = block_.part;
  gather_lanes(in_.n, weights, in_.x);
  gather_lanes(in_.n, errors, in_.h);
  weigh();
  in_.total = Lanes{};
  for (int i = 0; i < in_.n; ++i) in_.total += in_.h[i];
}

void Batch::weigh() {
  Lanes squares = {}, floor = {};
  for (int i = 0; i < in_.n; ++i) squares += in_.x[i] * in_.x[i];
  for (int first = 0; first < kLanes; first += parts_) {
    double sum = 0;
    for (int l = first; l < first + parts_; ++l) sum += static_cast<double>(squares[l]);
    for (int l = first; l < first + parts_; ++l) floor[l] = magnitude_floor(grid_.bits, sum / block_.elements);
  }
  weigh_errors(floor, &in_);
}

// One part, whose scale and offset are F16 numbers.
void Batch::plain() {
  best_ = Factors{};
  best_.scales += 1.0f;
  const bool own = block_.offset == BlockOffset::kOwn;
  if (own) best_.mins -= 1.0f;
  for (int l = 0; l < kLanes; ++l) {
    best_.d[l] = half(fit_.scale[l]);
    if (own) best_.dmin[l] = half(-fit_.offset[l]);
  }
}

void Batch::start(int less, Factors* f) const {
  const float reach = static_cast<float>(-block_.least_scale > block_.most_scale ? block_.least_scale + less
                                                                                 : block_.most_scale - less);
  const float mins = static_cast<float>(std::max(1, block_.most_min));
  for (int first = 0; first < kLanes; first += parts_) {
    float extreme = 0, deepest = 0;
    for (int l = first; l < first + parts_; ++l) {
      if (std::fabs(fit_.scale[l]) > std::fabs(extreme)) extreme = fit_.scale[l];
      deepest = std::max(deepest, fit_.offset[l]);
    }
    for (int l = first; l < first + parts_; ++l) f->d[l] = half(extreme / reach), f->dmin[l] = half(deepest / mins);
  }
}

void Batch::refit(const PartSums& sums, Factors* f) const {
  for (int first = 0; first < kLanes; first += parts_) {
    double ss = 0, sm = 0, mm = 0, rs = 0, rm = 0;
    for (int l = first; l < first + parts_; ++l) {
      const auto of = [l](const Lanes& v) { return static_cast<double>(v[l]); };
      const double s = of(f->scales), m = of(f->mins);
      ss += s * s * of(sums.pp), sm += s * m * of(sums.p), mm += m * m * of(in_.total);
      rs += s * of(sums.rp), rm += m * of(sums.r);
    }
    // r + m by - s p to: the least squares over to (of d) and by (of dmin).
    const double det = ss * mm - sm * sm;
    double to = ss > 0 ? rs / ss : 0, by = 0;
    if (det > 1e-6 * ss * mm) to = (rs * mm - rm * sm) / det, by = (rs * sm - rm * ss) / det;
    const float d = half(f->d[first] + static_cast<float>(to)), dmin = half(f->dmin[first] + static_cast<float>(by));
    for (int l = first; l < first + parts_; ++l) f->d[l] = d, f->dmin[l] = std::max(dmin, 0.0f);
  }
}

void Batch::search() {
  PartSums sums, least = {};
  Factors f = {};
  for (int t = 0; t < kStarts + kRefits; ++t) {
    if (t < kStarts)
      start(t, &f);
    else
      f = best_, refit(least, &f);
    choose_factors(block_, grid_, in_, fit_, &f, &sums);
    for (int first = 0; first < kLanes; first += parts_) {
      float now = 0, before = 0;
      for (int l = first; l < first + parts_; ++l) now += sums.rr[l], before += least.rr[l];
      if (t > 0 && !(now < before)) continue;
      for (int l = first; l < first + parts_; ++l) {
        best_.d[l] = f.d[l], best_.dmin[l] = f.dmin[l], best_.scales[l] = f.scales[l], best_.mins[l] = f.mins[l];
        least.rr[l] = sums.rr[l], least.r[l] = sums.r[l], least.rp[l] = sums.rp[l];
        least.p[l] = sums.p[l], least.pp[l] = sums.pp[l];
      }
    }
  }
}

bool Batch::store(int count, uint8_t* bytes) const {
  uint8_t codes[kLanes][kMostPart];
  choose_codes(grid_, in_, best_.d * best_.scales, best_.dmin * best_.mins, codes);
  for (int b = 0; b < count; ++b) {
    const int first = b * parts_;
    BlockFields fields;
    fields.d = best_.d[first], fields.dmin = best_.dmin[first];
    if (!std::isfinite(fields.d) || !std::isfinite(fields.dmin)) return false;
    for (int p = 0; p < parts_; ++p) {
      fields.scales[p] = static_cast<int16_t>(best_.scales[first + p]);
      fields.mins[p] = static_cast<int16_t>(best_.mins[first + p]);
      std::copy_n(codes[first + p], block_.part, fields.codes + p * block_.part);
    }
    block_.pack(fields, bytes + b * block_.bytes);
  }
  return true;
}

bool Batch::fit(int count, const float* x, const float* importance, uint8_t* bytes) {
  load(count, x, importance);
  search_parts(grid_, in_, &fit_);
  if (block_.least_scale == block_.most_scale)
    plain();
  else
    search();
  return store(count, bytes);
}

}  // namespace

int64_t fit_blocks(const BlockCode& block, int64_t count, const float* x, const float* importance, uint8_t* bytes) {
  const Lattice lattice(block, 1);
  Batch batch(block, lattice.points);
  for (int64_t i = 0; i < count * block.elements; ++i)
    if (!(std::fabs(x[i]) < kMostWeight)) return i / block.elements;
  for (int64_t b = 0; b < count;) {
    const int64_t n = std::min<int64_t>(count - b, batch.blocks()), at = b * block.elements;
    if (!batch.fit(static_cast<int>(n), x + at, importance ? importance + at : nullptr, bytes + b * block.bytes))
      return b;
    b += n;
  }
  return count;
}

}  // namespace qz
