#include "kernels/ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "each_engine.h"

namespace qz {
namespace {

constexpr int64_t kLengths[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257, 2048, 5001};
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kPi = 3.14159265358979323846;

double act(Activation kind, double x) {
  switch (kind) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
  }
  return 0;
}

constexpr Activation kKinds[] = {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu};

TEST(OpsTest, RmsNorm) {
  for_each_engine([] {
    for (const int64_t n : kLengths) {
      const auto x = normal(n, 1, 3), w = normal(n, 2);
      double square = 0;
      for (const float v : x) square += static_cast<double>(v) * v;
      std::vector<float> out(x.size());
      rms_norm(x.data(), w.data(), 1e-5f, n, out.data());
      for (int64_t i = 0; i < n; ++i) {
        const double want = x[i] / std::sqrt(square / static_cast<double>(n) + 1e-5f) * w[i];
        ASSERT_NEAR(out[i], want, 3e-7 * std::fabs(want) + 1e-30);
      }
    }
  });
}

TEST(OpsTest, LayerNorm) {
  for_each_engine([] {
    for (const int64_t n : kLengths) {
      auto x = normal(n, 3, 2);
      for (float& v : x) v += 100;  // a mean far from 0: the variance must not cancel
      const auto w = normal(n, 4), b = normal(n, 5);
      double mean = 0, variance = 0;
      for (const float v : x) mean += v;
      mean /= static_cast<double>(n);
      for (const float v : x) variance += (v - mean) * (v - mean);
      variance /= static_cast<double>(n);
      std::vector<float> out(x.size()), plain(x.size());
      layer_norm(x.data(), w.data(), b.data(), 1e-5f, n, out.data());
      layer_norm(x.data(), w.data(), nullptr, 1e-5f, n, plain.data());
      for (int64_t i = 0; i < n; ++i) {
        const double want = (x[i] - mean) / std::sqrt(variance + 1e-5f) * w[i];
        ASSERT_NEAR(plain[i], want, 3e-7 * std::fabs(want) + 1e-9);
        ASSERT_NEAR(out[i], want + b[i], 3e-7 * (std::fabs(want) + std::fabs(b[i])));
      }
    }
  });
}

TEST(OpsTest, Activations) {
  std::vector<float> x;
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) * 0.005f);
  const auto n = static_cast<int64_t>(x.size());
  for_each_engine([&] {
    for (const Activation kind : kKinds) {
      SCOPED_TRACE(static_cast<int>(kind));
      std::vector<float> out(x.size());
      activate(kind, x.data(), n, out.data());
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = act(kind, x[i]);
        // Relative in the exponential's argument: gelu's is x^2 / 2 and more, hence the looser bound far out on the
        // left.
        ASSERT_NEAR(out[i], want, 1e-6 * std::fabs(want) + 1e-9) << x[i];
      }
      EXPECT_TRUE(std::isnan([&] {
        const float nan = std::nanf("");
        float v = 0;
        activate(kind, &nan, 1, &v);
        return v;
      }()));
      const float far[] = {-1e4f, 1e4f, -300.0f};
      float values[3];
      activate(kind, far, 3, values);
      EXPECT_NEAR(values[0], 0, 1e-30);
      EXPECT_EQ(values[1], 1e4f);
      EXPECT_NEAR(values[2], 0, 1e-30);
    }
  });
}

TEST(OpsTest, Gates) {
  for_each_engine([] {
    for (const int64_t n : kLengths) {
      const auto gate = normal(n, 6, 3), up = normal(n, 7);
      for (const Activation kind : kKinds) {
        std::vector<float> out(gate.size()), in_place = gate;
        activate_gate(kind, gate.data(), up.data(), n, out.data());
        activate_gate(kind, in_place.data(), up.data(), n, in_place.data());
        EXPECT_EQ(out, in_place);
        for (int64_t i = 0; i < n; ++i) {
          const double want = act(kind, gate[i]) * up[i];
          ASSERT_NEAR(out[i], want, 1e-6 * std::fabs(want) + 1e-9);
        }
      }
    }
  });
}

TEST(OpsTest, RopeIsARotation) {
  for (const int64_t half : {1, 4, 5, 16, 32, 64}) {
    const auto head = normal(2 * half, 8);
    std::vector<float> cos(half), sin(half), out = head;
    for (int64_t i = 0; i < half; ++i) {
      cos[i] = std::cos(0.3f * static_cast<float>(i + 1));
      sin[i] = std::sin(0.3f * static_cast<float>(i + 1));
    }
    rope_rotate(out.data(), half, cos.data(), sin.data());
    for (int64_t i = 0; i < half; ++i) {
      EXPECT_NEAR(out[i], static_cast<double>(head[i]) * cos[i] - static_cast<double>(head[i + half]) * sin[i], 1e-6);
      EXPECT_NEAR(out[i + half], static_cast<double>(head[i + half]) * cos[i] + static_cast<double>(head[i]) * sin[i],
                  1e-6);
    }
  }
}

TEST(OpsTest, Softmax) {
  for_each_engine([] {
    for (const int64_t n : kLengths) {
      auto x = normal(n, 9, 5);
      if (n > 2) x[1] = -kInf;  // a masked place
      double largest = -1e300, sum = 0;
      for (const float v : x) largest = std::max(largest, static_cast<double>(v));
      for (const float v : x) sum += std::exp(v - largest);
      auto out = x;
      softmax(out.data(), n);
      for (int64_t i = 0; i < n; ++i) {
        const double want = std::exp(x[i] - largest) / sum;
        // x - largest is rounded to float32, which exp turns into a relative error of that size.
        const double rounding = x[i] == -kInf ? 0 : (largest - x[i]) * 0x1p-24;
        ASSERT_NEAR(out[i], want, (3e-7 + rounding) * want + 1e-37) << n;
      }
    }
  });
}

// Differences of log-likelihoods of 1e-8 are what evaluation reports.
TEST(OpsTest, LogSumExp) {
  for_each_engine([] {
    for (const int64_t n : kLengths) {
      for (const float scale : {0.01f, 1.0f, 10.0f, 300.0f}) {
        const auto x = normal(n, 10, scale);
        long double largest = -1e300L, sum = 0;
        for (const float v : x) largest = std::max(largest, static_cast<long double>(v));
        for (const float v : x) sum += std::exp(v - largest);
        const double want = static_cast<double>(largest + std::log(sum));
        ASSERT_NEAR(log_sum_exp(x.data(), n), want, 4e-15 * (1 + std::fabs(want)));
      }
    }
  });
  const float masked[] = {-kInf, -kInf}, some[] = {-kInf, 2.0f}, infinite[] = {1.0f, kInf};
  EXPECT_EQ(log_sum_exp(masked, 2), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(log_sum_exp(some, 2), 2.0);
  EXPECT_EQ(log_sum_exp(infinite, 2), std::numeric_limits<double>::infinity());
}

// The exponentials alone, over all that float64 can hold of them.
TEST(OpsTest, ExponentialsInFloat64) {
  for_each_engine([] {
    for (float x = 0; x > -708.0f; x -= 0.37f) {
      const double want = std::exp(static_cast<double>(x));
      ASSERT_NEAR(engine().ops->sum_exp_f64(&x, 0.0, 1), want, 1e-15 * want) << x;
    }
    const float low = -800;
    EXPECT_EQ(engine().ops->sum_exp_f64(&low, 0.0, 1), 0.0);
  });
}

// The instruction sets may not differ in a single bit here.
TEST(OpsTest, EveryEngineGivesTheSameBits) {
  std::vector<std::vector<float>> first;
  std::vector<double> first_sums;
  for_each_engine([&] {
    std::vector<std::vector<float>> results;
    std::vector<double> sums;
    for (const int64_t n : kLengths) {
      const auto x = normal(n, 11, 20), w = normal(n, 12);
      for (const Activation kind : kKinds) {
        results.emplace_back(x.size());
        activate(kind, x.data(), n, results.back().data());
      }
      results.push_back(x);
      softmax(results.back().data(), n);
      results.emplace_back(x.size());
      rms_norm(x.data(), w.data(), 1e-6f, n, results.back().data());
      results.emplace_back(x.size());
      layer_norm(x.data(), w.data(), w.data(), 1e-6f, n, results.back().data());
      sums.push_back(log_sum_exp(x.data(), n));
    }
    if (first.empty()) {
      first = results;
      first_sums = sums;
    }
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_EQ(std::memcmp(results[i].data(), first[i].data(), 4 * results[i].size()), 0) << "result " << i;
    }
    EXPECT_EQ(sums, first_sums);
  });
}

}  // namespace
}  // namespace qz
