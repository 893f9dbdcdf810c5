#include "method/hqq.h"

#include <algorithm>
#include <cmath>

#include "base/aligned.h"
#include "base/checked.h"
#include "base/pool.h"
#include "method/lanes.h"
#include "method/range.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr int64_t kTaskGroups = 16 * kLanes;
constexpr float kShrinks[] = {1.0f, 0.97f, 0.94f, 0.9f, 0.86f, 0.82f, 0.78f, 0.74f, 0.7f};

// Groups of n weights each, in lanes.
struct Groups {
  int64_t n;
  const Lanes* w;
};

struct Fit {
  Lanes scale, zero, error;  // as stored; the error is a sum of squares
};

// sign(x) max(|x| - |x|^(p - 1) / beta, 0): the proximal step of the norm.
float shrink(float x, float beta, float norm) {
  const float size = std::fabs(x);
  if (size == 0) return 0;
  const float left = size - std::pow(size, norm - 1) / beta;
  return left <= 0 ? 0 : std::copysign(left, x);
}

QZ_LANES_INLINE void nearest_lanes(const Lanes& v, float max_code, Lanes* code) {
  const Lanes most = max_code;
  Lanes c = pick(v < 0.0f, Lanes{}, v);
  c = pick(c > most, most, c);
  round_lanes(&c);
  *code = c;
}

// One step: sums of |error| in units of the scale, of the zero points that make up for the errors, and the largest
// error.
QZ_SIMD_CLONES
void sum_step(const Groups& in, const Lanes& inverse, const Lanes& zero, float max_code, Lanes* size, Lanes* next,
              Lanes* largest) {
  Lanes sizes = {}, sum = {}, most = {}, code;
  for (int64_t j = 0; j < in.n; ++j) {
    const Lanes t = in.w[j] * inverse;
    nearest_lanes(t + zero, max_code, &code);
    const Lanes wanted = code - t, off = wanted - zero, far = pick(off < 0.0f, -off, off);
    sum += wanted;
    sizes += far;
    most = pick(far > most, far, most);
  }
  *size = sizes, *next = sum, *largest = most;
}

// What shrunken errors add to the sum of zero points; of weights without outliers nothing.
float shrunken(const Groups& in, int lane, float inverse, float zero, float max_code, float beta, float norm) {
  float sum = 0;
  for (int64_t j = 0; j < in.n; ++j) {
    const float w = in.w[j][lane], error = w - (nearest_code(w, inverse, zero, max_code) - zero) / inverse;
    sum += shrink(error, beta, norm) * inverse;
  }
  return sum;
}

// The zero point for one inverse scale: alternates codes, errors and the mean that makes up for them, as long as the
// mean error falls. (hqq stops when the mean of the whole matrix rises; a group does not know of the others here.)
void solve_zero(const Groups& in, const Lanes& inverse, float max_code, const HqqOptions& o, Lanes* zero) {
  float beta = static_cast<float>(o.beta);
  const float norm = static_cast<float>(o.norm);
  Lanes best = HUGE_VALF, size, next, largest;
  bool active[kLanes];
  std::fill_n(active, kLanes, true);
  for (int32_t i = 0; i < o.iterations; ++i) {
    sum_step(in, inverse, *zero, max_code, &size, &next, &largest);
    const float least = std::pow(1 / beta, 1 / (2 - norm));  // smaller errors shrink to nothing
    bool any = false;
    for (int l = 0; l < kLanes; ++l) {
      if (!active[l]) continue;
      float sum = next[l];
      if (largest[l] > least * inverse[l]) sum += shrunken(in, l, inverse[l], (*zero)[l], max_code, beta, norm);
      (*zero)[l] = sum / static_cast<float>(in.n);
      active[l] = size[l] < best[l];
      best[l] = size[l];
      any = any || active[l];
    }
    if (!any) break;
    beta *= static_cast<float>(o.growth);
  }
}

QZ_SIMD_CLONES
void square_errors(const Groups& in, const Lanes& scale, const Lanes& zero, float max_code, Lanes* error) {
  const Lanes inverse = 1.0f / scale;
  Lanes sum = {}, code;
  for (int64_t j = 0; j < in.n; ++j) {
    nearest_lanes(in.w[j] * inverse + zero, max_code, &code);
    const Lanes d = in.w[j] - (code - zero) * scale;
    sum += d * d;
  }
  *error = sum;
}

void judge(const Groups& in, const Lanes& inverse, const Lanes& zero, float max_code, DType dtype, Fit* best) {
  Fit fit;
  for (int l = 0; l < kLanes; ++l) {
    fit.scale[l] = storable_scale(1 / inverse[l], dtype);
    fit.zero[l] = round_to(zero[l], dtype);
  }
  square_errors(in, fit.scale, fit.zero, max_code, &fit.error);
  for (int l = 0; l < kLanes; ++l)
    if (fit.error[l] < best->error[l])
      best->scale[l] = fit.scale[l], best->zero[l] = fit.zero[l], best->error[l] = fit.error[l];
}

QZ_SIMD_CLONES
void extremes(const Groups& in, Lanes* low, Lanes* high) {
  Lanes least = in.w[0], most = in.w[0];
  for (int64_t j = 1; j < in.n; ++j) {
    least = pick(in.w[j] < least, in.w[j], least);
    most = pick(in.w[j] > most, in.w[j], most);
  }
  *low = least, *high = most;
}

void fit_groups(const Groups& in, const Scheme& scheme, const HqqOptions& o, Fit* best) {
  Lanes low, high;
  extremes(in, &low, &high);
  const float max_code = static_cast<float>(scheme.max_code());
  *best = {1.0f, Lanes{}, HUGE_VALF};
  for (const float part : kShrinks) {
    Lanes inverse, zero;
    for (int l = 0; l < kLanes; ++l) {
      const float range = (high[l] - low[l]) * part;
      inverse[l] = range <= 1e-4f ? 1.0f : std::min(max_code / range, 2e4f);
      zero[l] = -low[l] * inverse[l] * part;  // the shrunken range keeps its middle's place on the grid
      if (scheme.bits == 4 && o.iterations > 0) zero[l] = std::nearbyint(zero[l]);
    }
    solve_zero(in, inverse, max_code, o, &zero);
    judge(in, inverse, zero, max_code, scheme.scale, best);
    if (!o.search) break;
  }
}

// Groups [first, end) of the matrix, row by row; all but the last of a row are of one size.
Status fit_task(MatrixView w, int64_t first, int64_t end, const HqqOptions& options, QMatrix* q) {
  const int64_t groups = q->groups(), size = q->scheme.group_size(w.cols);
  const auto length = [&](int64_t at) { return std::min(size, w.cols - at % groups * size); };
  const auto start = [&](int64_t at) { return w.row(at / groups) + at % groups * size; };
  const float max_code = static_cast<float>(q->scheme.max_code());
  AlignedBytes room(static_cast<size_t>(size) * sizeof(Lanes));
  if (room.empty()) return error(Code::kOutOfMemory, "no memory for %lld weights", static_cast<long long>(size));
  auto* lanes = reinterpret_cast<Lanes*>(room.data());
  for (int64_t at = first; at < end;) {
    const int64_t n = length(at);
    int64_t count = 1;
    while (count < kLanes && at + count < end && length(at + count) == n) ++count;
    const float* from[kLanes];
    for (int l = 0; l < kLanes; ++l) from[l] = start(at + (l < count ? l : 0));
    gather_lanes(n, from, lanes);
    Fit fit;
    fit_groups({n, lanes}, q->scheme, options, &fit);
    for (int64_t l = 0; l < count; ++l) {
      const float scale = fit.scale[l], zero = fit.zero[l];
      if (!std::isfinite(zero) || !std::isfinite(scale) || !std::isfinite(fit.error[l]))
        return error(Code::kNumeric, "row %lld, group %lld: no zero point fits %s",
                     static_cast<long long>((at + l) / groups), static_cast<long long>((at + l) % groups),
                     dtype_name(q->scheme.scale));
      q->scales[static_cast<size_t>(at + l)] = scale;
      q->float_zeros[static_cast<size_t>(at + l)] = zero;
      uint8_t* codes = q->codes.data() + (at + l) / groups * w.cols + (at + l) % groups * size;
      for (int64_t j = 0; j < n; ++j)
        codes[j] = static_cast<uint8_t>(nearest_code(from[l][j], 1 / scale, zero, max_code));
    }
    at += count;
  }
  return {};
}

}  // namespace

Result<QMatrix> hqq(const Context& context, MatrixView w, const Scheme& scheme, const HqqOptions& options) {
  QMatrix q;
  q.rows = w.rows;
  q.cols = w.cols;
  q.scheme = scheme;
  const int64_t count = w.rows * q.groups();
  q.codes.resize(static_cast<size_t>(w.rows * w.cols));
  q.scales.resize(static_cast<size_t>(count));
  q.float_zeros.resize(q.scales.size());
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(ceil_div(count, kTaskGroups)), [&](uint32_t task, uint32_t) {
    return fit_task(w, task * kTaskGroups, std::min(count, (task + int64_t{1}) * kTaskGroups), options, &q);
  }));
  return q;
}

}  // namespace qz
