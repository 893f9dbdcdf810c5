#include "kernels/gradients.h"

#include <algorithm>
#include <cmath>

#include "base/simd.h"
#include "kernels/engines.h"

namespace qz {
namespace {

// Sums run in lanes that are added in a fixed order: they vectorize, and every instruction set gives the same bits.
constexpr int64_t kLanes = 16;

float add_lanes(const float* lanes) {
  float sum = 0;
  for (int64_t l = 0; l < kLanes; ++l) sum += lanes[l];
  return sum;
}

QZ_SIMD_CLONES float dot(const float* a, const float* b, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += a[i + l] * b[i + l];
  }
  for (; i < n; ++i) lanes[i % kLanes] += a[i] * b[i];
  return add_lanes(lanes);
}

// sum of a * b * (x - shift).
QZ_SIMD_CLONES float dot3(const float* a, const float* b, const float* x, float shift, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += a[i + l] * b[i + l] * (x[i + l] - shift);
  }
  for (; i < n; ++i) lanes[i % kLanes] += a[i] * b[i] * (x[i] - shift);
  return add_lanes(lanes);
}

// dx += factor * (dy * weight - shift - (x - mean) * slope): both norms, with their own numbers.
QZ_SIMD_CLONES void add_norm_gradient(const float* x, const float* weight, const float* dy, float factor, float mean,
                                      float shift, float slope, int64_t n, float* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] += factor * (dy[i] * weight[i] - shift - (x[i] - mean) * slope);
}

constexpr int64_t kBlock = 256;

// The logistic function and its derivative, through e = exp(-|x|): no overflow, and no 1 - s that cancels.
struct Logistic {
  float value[kBlock], slope[kBlock];
};

QZ_SIMD_CLONES void finish_logistic(const float* x, int64_t n, Logistic* s) {  // value holds e
  for (int64_t i = 0; i < n; ++i) {
    const float e = s->value[i], share = 1.0f / (1.0f + e);
    s->value[i] = (x[i] < 0 ? e : 1.0f) * share;
    s->slope[i] = e * share * share;
  }
}

void logistic(const float* x, int64_t n, Logistic* s) {  // n <= kBlock
  for (int64_t i = 0; i < n; ++i) s->value[i] = -std::fabs(x[i]);
  engine().ops->exp_minus(s->value, 0.0f, n, s->value);
  finish_logistic(x, n, s);
}

// x s(x).
QZ_SIMD_CLONES void silu_gradient(const float* x, const Logistic& s, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = s.value[i] + x[i] * s.slope[i];
}

// x s(2u) with u = sqrt(2/pi) (x + 0.044715 x^3).
QZ_SIMD_CLONES void gelu_tanh_argument(const float* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = (x[i] + x[i] * x[i] * x[i] * 0.044715f) * 1.5957691216057308f;
}
QZ_SIMD_CLONES void gelu_tanh_gradient(const float* x, const Logistic& s, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const float slope = 1.5957691216057308f * (1.0f + x[i] * x[i] * (3 * 0.044715f));
    // The logistic's slope is 0 long before x^2 overflows.
    out[i] = s.value[i] + (s.slope[i] > 0 ? x[i] * s.slope[i] * slope : 0.0f);
  }
}

void activate_gradient_block(Activation kind, const float* x, int64_t n, float* out) {
  Logistic s;
  switch (kind) {
    case Activation::kSilu:
      logistic(x, n, &s);
      return silu_gradient(x, s, n, out);
    case Activation::kGeluTanh: {
      float a[kBlock] = {};
      gelu_tanh_argument(x, n, a);
      logistic(a, n, &s);
      return gelu_tanh_gradient(x, s, n, out);
    }
    case Activation::kGelu:  // Phi(x) + x phi(x)
      for (int64_t i = 0; i < n; ++i) {
        const float density = 0.398942280401432678f * std::exp(-0.5f * x[i] * x[i]);
        out[i] = 0.5f * std::erfc(x[i] * -0.707106781186547524f) + (density > 0 ? x[i] * density : 0.0f);
      }
      return;
    case Activation::kRelu:
      for (int64_t i = 0; i < n; ++i) out[i] = x[i] > 0 ? 1.0f : 0.0f;
      return;
  }
}

}  // namespace

void rms_norm_gradient(const float* x, const float* weight, float eps, int64_t n, const float* dy, float* dx) {
  const double mean_square = engine().ops->sum_squares(x, 0.0, n) / static_cast<double>(n);
  const float factor = static_cast<float>(1.0 / std::sqrt(mean_square + static_cast<double>(eps)));
  const float slope = factor * factor * dot3(dy, weight, x, 0.0f, n) / static_cast<float>(n);
  add_norm_gradient(x, weight, dy, factor, 0.0f, 0.0f, slope, n, dx);
}

void layer_norm_gradient(const float* x, const float* weight, float eps, int64_t n, const float* dy, float* dx) {
  const OpsKernels& ops = *engine().ops;
  const double mean = ops.sum(x, n) / static_cast<double>(n);
  const double variance = ops.sum_squares(x, mean, n) / static_cast<double>(n);
  const float factor = static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(eps)));
  const float center = static_cast<float>(mean), count = static_cast<float>(n);
  const float slope = factor * factor * dot3(dy, weight, x, center, n) / count;
  add_norm_gradient(x, weight, dy, factor, center, dot(dy, weight, n) / count, slope, n, dx);
}

void activate_gradient(Activation kind, const float* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kBlock) activate_gradient_block(kind, x + i, std::min(kBlock, n - i), out + i);
}

QZ_SIMD_CLONES void softmax_gradient(const float* p, int64_t n, float* dp) {
  const float mean = dot(p, dp, n);
  for (int64_t i = 0; i < n; ++i) dp[i] = p[i] * (dp[i] - mean);
}

}  // namespace qz
