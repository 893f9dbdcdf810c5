#include "method/refine.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/simd.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

constexpr int kLanes = 16;           // rows side by side
constexpr int64_t kBlock = 128;      // columns between two products
constexpr float kLeastRatio = 0.7f;  // a refit may not leave this range of the scale that it starts from
constexpr float kMostRatio = 1.4f;

// One pass of coordinate descent over `width` columns for kLanes rows; tiles are [width][kLanes].
//   g: gradient (T - Q) H of these columns; kept up to date; h: H at (block, block), row stride ld
//   code, scale, inverse, zero as usual; delta: out: change of the dequantized values
QZ_SIMD_CLONES
void descend_block(float* g, const float* h, int64_t ld, int64_t width, const float* scale, const float* inverse,
                   const float* zero, float max_code, float* code, float* delta) {
  for (int64_t j = 0; j < width; j++) {
    const float step = 1 / h[j * ld + j];
    float d[kLanes];
    float any = 0;
    for (int l = 0; l < kLanes; l++) {
      const int64_t at = j * kLanes + l;
      const float value = scale[at] * (code[at] - zero[at]);
      const float c = nearest_code(value + g[at] * step, inverse[at], zero[at], max_code);
      d[l] = scale[at] * (c - code[at]);
      code[at] = c;
      delta[at] += d[l];
      any += d[l] * d[l];
    }
    if (any == 0) continue;  // late sweeps change few codes
    for (int64_t k = 0; k < width; k++) {
      const float hk = h[j * ld + k];
      for (int l = 0; l < kLanes; l++) g[k * kLanes + l] -= d[l] * hk;
    }
  }
}

struct State {
  const Context& context;
  const HessianFactor& factor;
  const Scheme& scheme;
  Grid* grid;
  std::vector<uint8_t>* codes;
  int64_t rows, cols;
  Matrix gradient;  // (T - Q) H
  Progress* progress;
};

// gradient -= delta * H[c0 : c0 + width, :], delta [rows][width].
Status subtract(State* s, const Matrix& delta, int64_t c0, int64_t width) {
  return gemm_nn(s->context, {delta.data(), s->rows, width, delta.cols()},
                 {s->factor.h.row(c0), width, s->cols, s->cols}, -1.0f, s->gradient.data(), s->cols, s->progress);
}

// Scales of group g: the minimum of the quadratic along (codes - zero), rounded to what can be stored, taken if it is
// lower.
Status refit_group(State* s, int64_t g, int64_t c0, int64_t width) {
  Matrix direction(s->rows, width), along(s->rows, width);
  const bool tensor = s->scheme.group == kGroupTensor;
  QZ_TRY(parallel_for(s->context, static_cast<uint32_t>(ceil_div(s->rows, kLanes)), [&](uint32_t task, uint32_t) {
    for (int64_t r = task * kLanes; r < std::min<int64_t>(s->rows, (task + 1) * kLanes); r++) {
      const float zero = s->grid->zero[static_cast<size_t>(s->grid->at(r, g))];
      for (int64_t j = 0; j < width; j++)
        direction.row(r)[j] = static_cast<float>((*s->codes)[static_cast<size_t>(r * s->cols + c0 + j)]) - zero;
    }
    return Status();
  }));
  QZ_TRY(gemm_nn(s->context, direction.view(), {s->factor.h.row(c0) + c0, width, width, s->cols}, 1.0f, along.data(),
                 width, s->progress));
  std::vector<double> num(static_cast<size_t>(s->rows)), den(static_cast<size_t>(s->rows));
  for (int64_t r = 0; r < s->rows; r++) {
    double a = 0, b = 0;
    for (int64_t j = 0; j < width; j++) {
      a += static_cast<double>(direction.row(r)[j]) * static_cast<double>(s->gradient.row(r)[c0 + j]);
      b += static_cast<double>(direction.row(r)[j]) * static_cast<double>(along.row(r)[j]);
    }
    num[static_cast<size_t>(r)] = a;
    den[static_cast<size_t>(r)] = b;
  }
  if (tensor) {
    double a = 0, b = 0;
    for (int64_t r = 0; r < s->rows; r++) a += num[static_cast<size_t>(r)], b += den[static_cast<size_t>(r)];
    std::fill(num.begin(), num.end(), a);
    std::fill(den.begin(), den.end(), b);
  }
  for (int64_t r = 0; r < s->rows; r++) {
    const size_t at = static_cast<size_t>(s->grid->at(r, g));
    const float old = s->grid->scale[at];
    float change = 0;
    const double a = num[static_cast<size_t>(r)], b = den[static_cast<size_t>(r)];
    if (b > 0) {
      const float fitted = storable_scale(old + static_cast<float>(a / b), s->scheme.scale);
      const float ratio = fitted / old;
      const double d = static_cast<double>(fitted) - static_cast<double>(old);
      // Moving by d changes the loss by -2 d a + d^2 b; rounding may have spoilt the gain.
      if (ratio >= kLeastRatio && ratio <= kMostRatio && d * d * b < 2 * d * a) change = fitted - old;
    }
    s->grid->scale[at] = old + change;
    s->grid->inverse[at] = 1 / s->grid->scale[at];
    for (int64_t j = 0; j < width; j++) direction.row(r)[j] *= change;
  }
  return subtract(s, direction, c0, width);
}

Status descend_columns(State* s, int64_t g0_size, int64_t c0, int64_t width) {
  Matrix delta(s->rows, width);
  const float max_code = static_cast<float>(s->scheme.max_code());
  QZ_TRY(parallel_for(
      s->context, static_cast<uint32_t>(ceil_div(s->rows, kLanes)),
      [&](uint32_t task, uint32_t) {
        const int64_t r0 = task * kLanes, count = std::min<int64_t>(kLanes, s->rows - r0);
        std::vector<float> buffer(static_cast<size_t>(6 * width * kLanes), 0.0f);
        float *g = buffer.data(), *scale = g + width * kLanes, *inverse = scale + width * kLanes,
              *zero = inverse + width * kLanes, *code = zero + width * kLanes, *change = code + width * kLanes;
        for (int64_t j = 0; j < width; j++)
          for (int64_t l = 0; l < count; l++) {
            const size_t at = static_cast<size_t>(s->grid->at(r0 + l, (c0 + j) / g0_size));
            g[j * kLanes + l] = s->gradient.row(r0 + l)[c0 + j];
            scale[j * kLanes + l] = s->grid->scale[at];
            inverse[j * kLanes + l] = s->grid->inverse[at];
            zero[j * kLanes + l] = s->grid->zero[at];
            code[j * kLanes + l] = static_cast<float>((*s->codes)[static_cast<size_t>((r0 + l) * s->cols + c0 + j)]);
          }
        descend_block(g, s->factor.h.row(c0) + c0, s->cols, width, scale, inverse, zero, max_code, code, change);
        for (int64_t j = 0; j < width; j++)
          for (int64_t l = 0; l < count; l++) {
            delta.row(r0 + l)[j] = change[j * kLanes + l];
            (*s->codes)[static_cast<size_t>((r0 + l) * s->cols + c0 + j)] = static_cast<uint8_t>(code[j * kLanes + l]);
          }
        return Status();
      },
      s->progress));
  return subtract(s, delta, c0, width);
}

}  // namespace

Status refine(const Context& context, MatrixView target, const HessianFactor& factor, const Scheme& scheme,
              int32_t sweeps, bool refit, Grid* grid, std::vector<uint8_t>* codes, Progress* progress) {
  if (sweeps <= 0) return {};
  const int64_t rows = target.rows, n = target.cols, size = scheme.group_size(n);
  State s{context, factor, scheme, grid, codes, rows, n, Matrix(rows, n), progress};
  {
    Matrix errors(rows, n);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < n; c++) {
        const size_t at = static_cast<size_t>(grid->at(r, c / size));
        errors.row(r)[c] =
            target.row(r)[c] -
            grid->scale[at] * (static_cast<float>((*codes)[static_cast<size_t>(r * n + c)]) - grid->zero[at]);
      }
    QZ_TRY(gemm_nn(context, errors.view(), factor.h.view(), 1.0f, s.gradient.data(), n, progress));
  }
  for (int32_t sweep = 0; sweep < sweeps; sweep++) {
    for (int64_t c = 0; c < n;) {
      const int64_t g = c / size, end = std::min(n, (g + 1) * size);
      // Groups narrower than a block share one: their scales are refitted one by one, their codes descend together.
      const int64_t stop = size >= kBlock ? end : std::min(n, c + kBlock / size * size);
      if (refit)
        for (int64_t c0 = c; c0 < stop; c0 += size) QZ_TRY(refit_group(&s, c0 / size, c0, std::min(size, n - c0)));
      for (int64_t c0 = c; c0 < stop; c0 += kBlock) QZ_TRY(descend_columns(&s, size, c0, std::min(kBlock, stop - c0)));
      c = stop;
    }
  }
  return {};
}

}  // namespace qz
