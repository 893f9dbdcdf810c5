// Derivatives against central differences of the same functions written in float64.
#include "kernels/gradients.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

namespace qz {
namespace {

using Values = std::vector<double>;
using Function = std::function<Values(const Values&)>;

std::vector<float> numbers(int64_t n, float shift, uint32_t seed) {
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f + shift;
  }
  return x;
}

// (d f(x) / d x)^T dy.
Values differences(const Function& f, const std::vector<float>& x, const std::vector<float>& dy) {
  const double step = 1e-5;
  Values at(x.begin(), x.end()), out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double before = at[i];
    at[i] = before + step;
    const Values up = f(at);
    at[i] = before - step;
    const Values down = f(at);
    at[i] = before;
    for (size_t j = 0; j < up.size(); ++j) out[i] += (up[j] - down[j]) / (2 * step) * static_cast<double>(dy[j]);
  }
  return out;
}

void expect_near(const std::vector<float>& mine, const Values& expected) {
  for (size_t i = 0; i < mine.size(); ++i) EXPECT_NEAR(static_cast<double>(mine[i]), expected[i], 3e-6) << i;
}

TEST(Gradients, NormsAddTheirGradient) {
  for (const int64_t n : {5, 32, 67}) {
    const std::vector<float> x = numbers(n, 0.5f, 1), weight = numbers(n, 1, 2), dy = numbers(n, 0, 3);
    const double eps = 0.25;  // large, so that a missing eps shows
    const auto norm = [&](bool center, const Values& v) {
      double mean = 0, square = 0;
      for (const double e : v) mean += center ? e / static_cast<double>(n) : 0;
      for (const double e : v) square += (e - mean) * (e - mean) / static_cast<double>(n);
      Values out(v.size());
      for (size_t i = 0; i < v.size(); ++i) {
        out[i] = (v[i] - mean) / std::sqrt(square + eps) * static_cast<double>(weight[i]);
      }
      return out;
    };
    for (const bool center : {false, true}) {
      Values expected = differences([&](const Values& v) { return norm(center, v); }, x, dy);
      for (double& e : expected) e += 0.75;
      std::vector<float> dx(x.size(), 0.75f);
      const auto gradient = center ? layer_norm_gradient : rms_norm_gradient;
      gradient(x.data(), weight.data(), static_cast<float>(eps), n, dy.data(), dx.data());
      expect_near(dx, expected);
    }
  }
}

double value(Activation kind, double x) {
  switch (kind) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
  }
  return 0;
}

TEST(Gradients, Activations) {
  std::vector<float> x;
  for (int i = -300; i <= 300; ++i) x.push_back(static_cast<float>(i) * 0.04f + 0.013f);
  const std::vector<float> ones(x.size(), 1.0f);
  for (const Activation kind : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    std::vector<float> slope = x;
    activate_gradient(kind, slope.data(), static_cast<int64_t>(x.size()), slope.data());  // in place
    for (size_t i = 0; i < x.size(); ++i) {
      const double at = static_cast<double>(x[i]), step = 1e-6;
      EXPECT_NEAR(static_cast<double>(slope[i]), (value(kind, at + step) - value(kind, at - step)) / (2 * step), 1e-6)
          << static_cast<int>(kind) << " at " << at;
    }
    // Far out: 1 or 0, and no NaN from infinity times 0.
    const float far[] = {1e4f, -1e4f, 3e38f, -3e38f, 0.0f};
    float out[5];
    activate_gradient(kind, far, 5, out);
    EXPECT_FLOAT_EQ(out[0], 1.0f);
    EXPECT_FLOAT_EQ(out[1], 0.0f);
    EXPECT_FLOAT_EQ(out[2], 1.0f);
    EXPECT_FLOAT_EQ(out[3], 0.0f);
    EXPECT_FLOAT_EQ(out[4], kind == Activation::kRelu ? 0.0f : 0.5f);
  }
}

TEST(Gradients, Softmax) {
  for (const int64_t n : {1, 7, 40}) {
    const std::vector<float> x = numbers(n, 0, 5), dy = numbers(n, 0, 6);
    const auto f = [](const Values& v) {
      double sum = 0;
      for (const double e : v) sum += std::exp(e);
      Values out;
      for (const double e : v) out.push_back(std::exp(e) / sum);
      return out;
    };
    std::vector<float> p = x, dp = dy;
    softmax(p.data(), n);
    softmax_gradient(p.data(), n, dp.data());
    expect_near(dp, differences(f, x, dy));
  }
}

}  // namespace
}  // namespace qz
