#include "kernels/ops.h"

#include <cmath>

#include "kernels/engines.h"

namespace qz {

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  const double mean_square = engine().ops->sum_squares(x, 0.0, n) / static_cast<double>(n);
  const float factor = static_cast<float>(1.0 / std::sqrt(mean_square + static_cast<double>(eps)));
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* out) {
  const OpsKernels& ops = *engine().ops;
  const double mean = ops.sum(x, n) / static_cast<double>(n);
  const double variance = ops.sum_squares(x, mean, n) / static_cast<double>(n);
  const double factor = 1.0 / std::sqrt(variance + static_cast<double>(eps));
  for (int64_t i = 0; i < n; ++i) {
    const float normal = static_cast<float>((static_cast<double>(x[i]) - mean) * factor);
    out[i] = normal * weight[i] + (bias ? bias[i] : 0.0f);
  }
}

void activate(Activation kind, const float* x, int64_t n, float* out) {
  switch (kind) {
    case Activation::kSilu:
      return engine().ops->silu(x, n, out);
    case Activation::kGeluTanh:
      return engine().ops->gelu_tanh(x, n, out);
    case Activation::kGelu:  // erfc instead of 1 + erf: no cancellation for negative x
      for (int64_t i = 0; i < n; ++i) out[i] = 0.5f * x[i] * std::erfc(x[i] * -0.707106781186547524f);
      return;
    case Activation::kRelu:  // written so that NaN stays
      for (int64_t i = 0; i < n; ++i) out[i] = x[i] < 0 ? 0.0f : x[i];
      return;
  }
}

void activate_gate(Activation kind, const float* gate, const float* up, int64_t n, float* out) {
  constexpr int64_t kBlock = 256;  // so that out may be gate or up
  float values[kBlock];
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t count = n - start < kBlock ? n - start : kBlock;
    activate(kind, gate + start, count, values);
    for (int64_t i = 0; i < count; ++i) out[start + i] = values[i] * up[start + i];
  }
}

void rope_rotate(float* head, int64_t half, const float* cos, const float* sin) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cos[i] - b * sin[i];
    head[i + half] = b * cos[i] + a * sin[i];
  }
}

void rope_rotate_neighbours(float* head, int64_t half, const float* cos, const float* sin) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = a * cos[i] - b * sin[i];
    head[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

void softmax(float* x, int64_t n) {
  const OpsKernels& ops = *engine().ops;
  const float sum = ops.exp_minus(x, ops.max(x, n), n, x);
  ops.scale(x, 1.0f / sum, n);
}

double log_sum_exp(const float* x, int64_t n) {
  const OpsKernels& ops = *engine().ops;
  const double largest = static_cast<double>(ops.max(x, n));
  if (std::isinf(largest)) return largest;  // all -inf, or one +inf
  return largest + std::log(ops.sum_exp_f64(x, largest, n));
}

}  // namespace qz
