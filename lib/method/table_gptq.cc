#include "method/table_gptq.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/pool.h"
#include "base/simd.h"
#include "method/range.h"
#include "method/tables.h"
#include "method/target.h"
#include "packed/codebook.h"

namespace qz {
namespace {

constexpr int64_t kLanes = 8;  // rows that go through the loop side by side
constexpr int kSteps = 16;     // candidates of the scale search
constexpr float kStep = 0.025f;

// Weighted squared error of the weights that share scale s, if it were `scale`.
double group_error(MatrixView w, const float* weights, const QMatrix& q, int64_t s, float scale) {
  const std::vector<float>& table = codebook(q.scheme.code);
  double sum = 0;
  each_in_group(q, s, [&](int64_t r, int64_t c) {
    const float x = w.row(r)[c];
    const double d = static_cast<double>(x - table[nearest_in_codebook(q.scheme.code, x / scale)] * scale);
    sum += static_cast<double>(weights[c]) * d * d;
  });
  return sum;
}

Status search_scales(const Context& context, MatrixView w, const HessianFactor& factor, QMatrix* q) {
  QZ_TRY(parallel_for(context, static_cast<uint32_t>(q->scales.size()), [&](uint32_t s, uint32_t) {
    const float plain = q->scales[s];
    double least = HUGE_VAL;
    for (int i = 0; i < kSteps; ++i) {
      const float scale = storable_scale(plain * (1.05f - kStep * static_cast<float>(i)), q->scheme.scale);
      const double found = group_error(w, factor.diag.data(), *q, s, scale);
      if (found < least) least = found, q->scales[s] = scale;
    }
    return Status();
  }));
  if (q->scheme.nested) nest_scales(q);
  return {};
}

QZ_SIMD_CLONES
void carry(float error, const float* lower, int64_t n, float* sum) {
  for (int64_t k = 0; k < n; ++k) sum[k] += error * lower[k];
}

// Rows [begin, end): columns in factor order, the last first, as in columns.cc.
void solve_rows(MatrixView target, const HessianFactor& factor, int64_t begin, int64_t end, QMatrix* q) {
  const int64_t n = q->cols;
  const std::vector<float>& table = codebook(q->scheme.code);
  std::vector<float> sums(static_cast<size_t>((end - begin) * n));
  for (int64_t j = n - 1; j >= 0; --j) {
    const int64_t c = factor.order[static_cast<size_t>(j)];
    const float* lower = factor.lower.row(j);
    for (int64_t r = begin; r < end; ++r) {
      float* sum = sums.data() + (r - begin) * n;
      const float x = target.row(r)[c], scale = q->scales[static_cast<size_t>(scale_index(*q, r, c))];
      const float aim = x + sum[j] / lower[j];
      const uint8_t code = nearest_in_codebook(q->scheme.code, scale != 0 ? aim / scale : 0);
      q->codes[static_cast<size_t>(r * n + c)] = code;
      carry(x - table[code] * scale, lower, j, sum);
    }
  }
}

}  // namespace

Result<Solved> table_gptq(const Context& context, MatrixView w, const HessianFactor& factor, const StageStats& stats,
                          const HeldOut& held, const Scheme& scheme, const GptqOptions& options, Progress* progress) {
  if (options.order == Order::kGidx)
    return error(Code::kUnsupported, "scheme %s has no g_idx; order static needs none", scheme_name(scheme).c_str());
  Solved out;
  QZ_ASSIGN(Target target, make_target(context, w, factor, stats, held, options, progress));
  out.drift = target.drift;
  out.residual = target.residual;
  const MatrixView t = target.w.view();
  Scheme plain = scheme;
  plain.nested = 0;
  QZ_ASSIGN(out.q, round_to_table(context, t, plain));
  out.q.scheme = scheme;
  QZ_TRY(search_scales(context, t, factor, &out.q));
  QZ_TRY(parallel_for(
      context, static_cast<uint32_t>(ceil_div(w.rows, kLanes)),
      [&](uint32_t task, uint32_t) {
        const int64_t begin = task * kLanes;
        solve_rows(t, factor, begin, std::min(w.rows, begin + kLanes), &out.q);
        return Status();
      },
      progress));
  return out;
}

}  // namespace qz
