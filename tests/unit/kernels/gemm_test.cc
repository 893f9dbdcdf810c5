#include "kernels/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "each_engine.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr int64_t kSides[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257};
constexpr float kUntouched = -12345.5f;

// sum_k x[m][k] * w[n][k] and the sum of its terms' magnitudes, in float64. A float32 sum of k terms, in any order, is
// off by at most k units of rounding times the magnitudes (Higham, Accuracy and Stability of Numerical
// Algorithms, 3.1).
struct Expected {
  std::vector<double> value, bound;
};

Expected expect(const std::vector<float>& x, int64_t x_stride, const std::vector<float>& w, int64_t w_stride, int64_t m,
                int64_t n, int64_t k) {
  Expected e{std::vector<double>(static_cast<size_t>(m * n)), std::vector<double>(static_cast<size_t>(m * n))};
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t t = 0; t < k; ++t) {
        const double term = static_cast<double>(x[i * x_stride + t]) * static_cast<double>(w[j * w_stride + t]);
        sum += term;
        magnitude += std::fabs(term);
      }
      e.value[i * n + j] = sum;
      e.bound[i * n + j] = (static_cast<double>(k) + 4) * 0x1p-24 * (magnitude + 4);
    }
  }
  return e;
}

std::vector<float> transposed(const std::vector<float>& a, int64_t rows, int64_t cols, int64_t stride,
                              int64_t new_stride) {
  std::vector<float> t(static_cast<size_t>(cols * new_stride), kUntouched);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) t[c * new_stride + r] = a[r * stride + c];
  }
  return t;
}

// c must be base + factor * expected everywhere (base of one row, one column or constant), and the columns past n
// untouched.
template <class Base>
void check(const std::vector<float>& c, int64_t stride, int64_t m, int64_t n, const Expected& e, double factor,
           const Base& base) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const double want = base(i, j) + factor * e.value[i * n + j];
      ASSERT_NEAR(c[i * stride + j], want, std::fabs(factor) * e.bound[i * n + j] + std::fabs(want) * 0x1p-22)
          << "at " << i << ", " << j;
    }
    for (int64_t j = n; j < stride; ++j) ASSERT_EQ(c[i * stride + j], kUntouched) << "past the row's end";
  }
}

std::vector<float> rounded_to_bf16(std::vector<float> values) {
  std::vector<uint16_t> half(values.size());
  from_f32(values.data(), DType::kBF16, values.size(), half.data());
  to_f32(half.data(), DType::kBF16, values.size(), values.data());
  return values;
}

// Fast products are given factors that bfloat16 holds: then they are as good as the exact ones.
void check_shape(const Context& context, int64_t m, int64_t n, int64_t k) {
  SCOPED_TRACE("m n k = " + std::to_string(m) + " " + std::to_string(n) + " " + std::to_string(k));
  const int64_t xs = k + 3, ys = n + 2, ts = m + 1, us = n + 5;
  auto x = normal(m * xs, 1), w = normal(n * k, 2), bias = normal(n, 3);
  if (context.products == Products::kFast) x = rounded_to_bf16(x), w = rounded_to_bf16(w);
  const auto xt = transposed(x, m, k, xs, ts), wt = transposed(w, n, k, k, us);
  const DenseWeight dense{w.data(), DType::kF32, n, k};
  const Expected e = expect(x, xs, w, k, m, n, k);
  const auto fresh = [&](float value) {
    std::vector<float> c(static_cast<size_t>(m * ys), kUntouched);
    for (int64_t i = 0; i < m; ++i) std::fill_n(c.begin() + i * ys, n, value);
    return c;
  };
  for_each_engine([&] {
    auto c = fresh(std::nanf(""));  // "=" must not read what was there
    ASSERT_TRUE(gemm_nt(context, {x.data(), m, k, xs}, weight_rows(dense), bias.data(), false, c.data(), ys).ok());
    check(c, ys, m, n, e, 1, [&](int64_t, int64_t j) { return bias[j]; });
    c = fresh(2.5f);
    ASSERT_TRUE(gemm_nt(context, {x.data(), m, k, xs}, weight_rows(dense), bias.data(), true, c.data(), ys).ok());
    check(c, ys, m, n, e, 1, [&](int64_t, int64_t j) { return 2.5 + bias[j]; });
    c = fresh(-1.5f);
    ASSERT_TRUE(gemm_nn(context, {x.data(), m, k, xs}, {wt.data(), k, n, us}, -0.5f, c.data(), ys).ok());
    check(c, ys, m, n, e, -0.5, [](int64_t, int64_t) { return -1.5; });
    c = fresh(0.5f);
    ASSERT_TRUE(gemm_tn(context, {xt.data(), k, m, ts}, {wt.data(), k, n, us}, 2.0f, false, c.data(), ys).ok());
    check(c, ys, m, n, e, 2, [](int64_t, int64_t) { return 0.5; });
  });
}

TEST(GemmTest, EverySmallShape) {
  const auto context = make_context(2);
  for (const int64_t m : kSides) {
    for (const int64_t n : kSides) {
      for (const int64_t k : kSides) {
        check_shape(*context, m, n, k);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(GemmTest, SeveralTilesAndDepthBlocks) {
  const auto context = make_context(2);
  check_shape(*context, 300, 700, 515);
  check_shape(*context, 5, 300, 5000);
  check_shape(*context, 1030, 40, 300);
}

TEST(GemmTest, FastProductsOfBf16Factors) {
  const auto context = with_products(make_context(2), Products::kFast);
  for (const int64_t m : kSides) {
    for (const int64_t k : kSides) {
      check_shape(*context, m, 37, k);
      check_shape(*context, 26, m, k);
      if (HasFatalFailure()) return;
    }
  }
  check_shape(*context, 300, 700, 1027);
  check_shape(*context, 1030, 40, 600);
  check_shape(*context, 2100, 33, 65);
}

// A factor moves by at most half a unit in the last place of bfloat16, 2^-9 of it.
TEST(GemmTest, FastProductsRoundFactorsToNearest) {
  const auto context = with_products(make_context(2), Products::kFast);
  const int64_t m = 64, n = 96, k = 513;
  const auto x = normal(m * k, 12), w = normal(n * k, 13);
  const DenseWeight dense{w.data(), DType::kF32, n, k};
  const Expected e = expect(x, k, w, k, m, n, k);
  const Expected rounded = expect(rounded_to_bf16(x), k, rounded_to_bf16(w), k, m, n, k);
  for_each_engine([&] {
    const bool rounds = panels(Products::kFast).pair == 2 || blocks(Products::kFast);
    std::vector<float> c(static_cast<size_t>(m * n));
    ASSERT_TRUE(gemm_nt(*context, {x.data(), m, k, k}, weight_rows(dense), nullptr, false, c.data(), n).ok());
    check(c, n, m, n, rounds ? rounded : e, 1, [](int64_t, int64_t) { return 0.0; });
  });
}

// op(B) is packed in several slabs along both of its sides.
TEST(GemmTest, FactorsLargerThanTheSharedPanels) {
  for (const Products products : {Products::kExact, Products::kFast}) {
    const auto context = with_products(make_context(2), products);
    check_shape(*context, 27, 4500, 600);
    check_shape(*context, 26, 530, 9000);
  }
}

TEST(GemmTest, NothingToSum) {
  const auto context = make_context(1);
  const std::vector<float> bias = {1, 2, 3};
  for (const int64_t m : {1, 20}) {
    std::vector<float> y(static_cast<size_t>(3 * m), 9);
    const DenseWeight dense{nullptr, DType::kF32, 3, 0};
    ASSERT_TRUE(gemm_nt(*context, {nullptr, m, 0, 0}, weight_rows(dense), bias.data(), false, y.data(), 3).ok());
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], bias[i % 3]);
    ASSERT_TRUE(gemm_nt(*context, {nullptr, m, 0, 0}, weight_rows(dense), nullptr, true, y.data(), 3).ok());
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], bias[i % 3]);
  }
  ASSERT_TRUE(gemm_tn(*context, {nullptr, 5, 0, 0}, {nullptr, 5, 0, 0}, 1, true, nullptr, 0).ok());
}

void sixteen_bit_weights_are_their_values(const Context& context) {
  for (const int64_t m : {3, 40, 600}) {
    const int64_t n = 70, k = 333;
    const auto x = normal(m * k, 5), w = normal(n * k, 6);
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      std::vector<uint16_t> half(w.size());
      std::vector<float> rounded(w.size()), direct(static_cast<size_t>(m * n), std::nanf("")), through(direct);
      from_f32(w.data(), dtype, w.size(), half.data());
      to_f32(half.data(), dtype, w.size(), rounded.data());
      const DenseWeight stored{half.data(), dtype, n, k}, wide{rounded.data(), DType::kF32, n, k};
      for_each_engine([&] {
        ASSERT_TRUE(gemm_nt(context, {x.data(), m, k, k}, weight_rows(stored), nullptr, false, direct.data(), n).ok());
        ASSERT_TRUE(gemm_nt(context, {x.data(), m, k, k}, weight_rows(wide), nullptr, false, through.data(), n).ok());
        EXPECT_EQ(direct, through);
      });
    }
  }
}

TEST(GemmTest, SixteenBitWeightsAreTheirValues) {
  sixteen_bit_weights_are_their_values(*make_context(2));
  sixteen_bit_weights_are_their_values(*with_products(make_context(2), Products::kFast));
}

// Rows and columns do not touch each other: zeros give zeros, and what is no number stays in its row.
TEST(GemmTest, RowsStandAlone) {
  const int64_t m = 70, n = 90, k = 300;
  auto x = normal(m * k, 16), w = normal(n * k, 17);
  std::fill_n(x.begin() + 3 * k, k, 0.0f);
  std::fill_n(w.begin() + 5 * k, k, 0.0f);
  const DenseWeight dense{w.data(), DType::kF32, n, k};
  for (const Products products : {Products::kExact, Products::kFast}) {
    const auto context = with_products(make_context(2), products);
    for_each_engine([&] {
      std::vector<float> clean(static_cast<size_t>(m * n)), y(clean);
      ASSERT_TRUE(gemm_nt(*context, {x.data(), m, k, k}, weight_rows(dense), nullptr, false, clean.data(), n).ok());
      for (int64_t j = 0; j < n; ++j) ASSERT_EQ(clean[3 * n + j], 0.0f);
      for (int64_t i = 0; i < m; ++i) ASSERT_EQ(clean[i * n + 5], 0.0f);
      auto spoilt = x;
      spoilt[7 * k + 2] = std::nanf("");
      ASSERT_TRUE(gemm_nt(*context, {spoilt.data(), m, k, k}, weight_rows(dense), nullptr, false, y.data(), n).ok());
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          ASSERT_TRUE(i == 7 ? std::isnan(y[i * n + j]) : y[i * n + j] == clean[i * n + j]) << i << ", " << j;
        }
      }
    });
  }
}

// Every weight is asked for once for few rows of x, and never out of bounds.
TEST(GemmTest, FetchesEachWeightOnceForFewRows) {
  struct Counter {
    int64_t rows, cols;
    mutable std::vector<int> asked;
  };
  const int64_t n = 300, k = 4100;
  Counter counter{n, k, std::vector<int>(static_cast<size_t>(n * k))};
  const WeightRows w = {n, k, &counter, [](const void* self, int64_t row, int64_t c0, int64_t c1, float* out) {
                          const auto& c = *static_cast<const Counter*>(self);
                          ASSERT_TRUE(row >= 0 && row < c.rows && c0 >= 0 && c1 <= c.cols && c0 < c1);
                          for (int64_t i = c0; i < c1; ++i) ++c.asked[row * c.cols + i];
                          std::fill(out, out + (c1 - c0), 1.0f);
                        }};
  const auto context = make_context(3);
  const std::vector<float> x(static_cast<size_t>(2 * k), 1.0f);
  std::vector<float> y(static_cast<size_t>(2 * n));
  ASSERT_TRUE(gemm_nt(*context, {x.data(), 2, k, k}, w, nullptr, false, y.data(), n).ok());
  for (const int asked : counter.asked) ASSERT_EQ(asked, 1);
  for (const float v : y) ASSERT_EQ(v, 4100.0f);
}

void lower_triangle_only(Products products) {
  const auto context = with_products(make_context(2), products);
  const int64_t t = 300;
  for (const int64_t n : {1, 13, 40, 97, 300, 520}) {
    const auto x = normal(t * n, 7);
    for_each_engine([&] {
      std::vector<float> whole(static_cast<size_t>(n * n), 0.25f), lower(whole);
      ASSERT_TRUE(gemm_tn(*context, {x.data(), t, n, n}, {x.data(), t, n, n}, 0.1f, false, whole.data(), n).ok());
      ASSERT_TRUE(gemm_tn(*context, {x.data(), t, n, n}, {x.data(), t, n, n}, 0.1f, true, lower.data(), n).ok());
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          const float got = lower[i * n + j];
          if (i >= j) {
            ASSERT_EQ(got, whole[i * n + j]) << i << ", " << j;
            ASSERT_EQ(got, whole[j * n + i]) << "a product with itself is symmetric to the bit, at " << i << ", " << j;
          } else if (j - i >= 64) {
            ASSERT_EQ(got, 0.25f) << i << ", " << j;
          } else {
            ASSERT_TRUE(got == 0.25f || got == whole[i * n + j]) << i << ", " << j;
          }
        }
      }
    });
  }
}

TEST(GemmTest, LowerTriangleOnly) {
  lower_triangle_only(Products::kExact);
  lower_triangle_only(Products::kFast);
}

TEST(GemmTest, SeveralLeftFactors) {
  const int64_t t = 700, m = 90, n = 130;
  const auto a = normal(t * m, 14), b = normal(t * n, 15);
  for (const Products products : {Products::kExact, Products::kFast}) {
    const auto context = with_products(make_context(2), products);
    const MatrixView av{a.data(), t, m, m}, bv{b.data(), t, n, n};
    std::vector<float> together(static_cast<size_t>(n * n + m * n), 0.5f), apart(together);
    ASSERT_TRUE(gemm_tn(*context, {{bv, true, together.data(), n}, {av, false, together.data() + n * n, n}}, bv).ok());
    ASSERT_TRUE(gemm_tn(*context, bv, bv, 1.0f, true, apart.data(), n).ok());
    ASSERT_TRUE(gemm_tn(*context, av, bv, 1.0f, false, apart.data() + n * n, n).ok());
    EXPECT_EQ(together, apart);
  }
}

void same_bits_for_any_number_of_threads(Products products) {
  const int64_t m = 515, n = 390, k = 700;
  const auto x = normal(m * k, 8), w = normal(n * k, 9), wt = normal(k * n, 10);
  const DenseWeight dense{w.data(), DType::kF32, n, k};
  for_each_engine([&] {
    std::vector<std::vector<float>> first;
    for (const int32_t threads : {1, 2, 3, 8}) {
      const auto context = with_products(make_context(threads), products);
      std::vector<std::vector<float>> r(4);
      r[0].resize(m * n);
      ASSERT_TRUE(gemm_nt(*context, {x.data(), m, k, k}, weight_rows(dense), nullptr, false, r[0].data(), n).ok());
      r[1].resize(4 * n);
      ASSERT_TRUE(gemm_nt(*context, {x.data(), 4, k, k}, weight_rows(dense), nullptr, false, r[1].data(), n).ok());
      r[2].resize(m * n);
      ASSERT_TRUE(gemm_nn(*context, {x.data(), m, k, k}, {wt.data(), k, n, n}, 1, r[2].data(), n).ok());
      r[3].resize(k * k);
      ASSERT_TRUE(gemm_tn(*context, {x.data(), m, k, k}, {x.data(), m, k, k}, 1, true, r[3].data(), k).ok());
      if (first.empty()) {
        first = r;
      } else {
        for (size_t i = 0; i < r.size(); ++i) {
          ASSERT_EQ(std::memcmp(first[i].data(), r[i].data(), 4 * r[i].size()), 0)
              << threads << " threads, product " << i;
        }
      }
    }
  });
}

TEST(GemmTest, TheSameBitsForAnyNumberOfThreads) {
  same_bits_for_any_number_of_threads(Products::kExact);
  same_bits_for_any_number_of_threads(Products::kFast);
}

TEST(GemmTest, StopsWhenAsked) {
  const auto context = make_context(2);
  const int64_t n = 800;
  const auto x = normal(n * n, 11);
  std::vector<float> c(x.size());
  Progress progress([](const ProgressInfo&) { return false; });
  const Status status = gemm_nn(*context, {x.data(), n, n, n}, {x.data(), n, n, n}, 1, c.data(), n, &progress);
  EXPECT_EQ(status.code(), Code::kCancelled);
}

}  // namespace
}  // namespace qz
