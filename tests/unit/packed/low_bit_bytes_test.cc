// Products with x in 8 bits: integer sums are exact, so that every instruction set differs from float64 only by what
// scaling and adding up the groups rounds.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "../kernels/each_engine.h"
#include "packed/inputs.h"
#include "packed/integer_product.h"
#include "packed/tiles.h"
#include "random_matrix.h"

namespace qz {
namespace {

// Extremes are as frequent as everything else: -128 and 127 with codes of 255 are what saturates.
std::vector<int8_t> random_codes(int64_t n) {
  std::mt19937 random(5);
  std::vector<int8_t> codes(static_cast<size_t>(n));
  for (int8_t& code : codes) {
    const uint32_t v = random();
    code = static_cast<int8_t>(v % 4 == 0 ? -128 : v % 4 == 1 ? 127 : static_cast<int32_t>(v >> 8 & 0xFF) - 128);
  }
  return codes;
}

void check(const char* name, int64_t m, int64_t rows, int64_t cols, bool factor_of_group, bool act_order = false) {
  SCOPED_TRACE(std::string(name) + " m " + std::to_string(m) + " rows " + std::to_string(rows) + " cols " +
               std::to_string(cols));
  auto scheme = *scheme_preset(name);
  scheme.scale = DType::kF16;
  const auto q = random_matrix(rows, cols, scheme, 9, act_order);
  const auto context = make_context(2);
  const auto w = tile_matrix(*context, q);
  ASSERT_TRUE(w.ok());
  ASSERT_TRUE(takes_bytes(*w));
  const auto codes = random_codes(m * cols);
  const int64_t of_row = factor_of_group ? w->groups() : 1;
  const auto factors = normal(m * of_row, 10), bias = normal(rows, 11);
  const Matrix dense = dequantize(q);
  for_each_engine([&] {
    std::vector<float> y(static_cast<size_t>(m * rows));
    ASSERT_TRUE(low_bit_product_bytes(*context, *w, {codes.data(), factors.data(), m, cols, of_row}, bias.data(), false,
                                      {y.data(), DType::kF32, rows})
                    .ok());
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t r = 0; r < rows; ++r) {
        double want = bias[r], magnitude = std::fabs(want);
        for (int64_t k = 0; k < cols; ++k) {
          const float factor = factors[i * of_row + (factor_of_group ? q.group_of(k) : 0)];
          const double x = static_cast<double>(codes[i * cols + k]) * factor;
          const double step = q.scales[static_cast<size_t>(scale_index(q, r, k))];
          want += x * dense.row(r)[k];
          magnitude += std::fabs(x) * (std::fabs(dense.row(r)[k]) + (q.zeros.empty() ? 0 : step * scheme.max_code()));
        }
        const double room = (static_cast<double>(w->groups()) + 8) * 0x1p-23 * magnitude;
        ASSERT_NEAR(y[i * rows + r], want, room) << "at " << i << ", " << r;
      }
    }
  });
}

TEST(LowBitBytesTest, EverySchemeAndNumberOfRows) {
  for (const char* name :
       {"w2g32", "w2g64a", "w4g32", "w4g128a", "w4row", "w8g32a", "w8g128", "w8row", "w8rowa", "llm-int8"}) {
    for (const int64_t m : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17}) {
      check(name, m, 35, 256, false);
      if (HasFatalFailure()) return;
    }
  }
}

// All codes and bytes as large as they can be: sums that are kept in few bits must have room for them.
TEST(LowBitBytesTest, TheLargestOfAll) {
  const auto context = make_context(1);
  for (const char* name : {"w2g64", "w4g128", "w4row", "w8g128"}) {
    SCOPED_TRACE(name);
    auto q = random_matrix(16, 512, *scheme_preset(name), 9);
    std::fill(q.codes.begin(), q.codes.end(), static_cast<uint8_t>(q.scheme.max_code()));
    std::fill(q.scales.begin(), q.scales.end(), 1.0f);
    const auto w = tile_matrix(*context, q);
    for (const int64_t m : {1, 8, 40}) {
      for (const int8_t x : {int8_t{-128}, int8_t{127}}) {
        const std::vector<int8_t> codes(static_cast<size_t>(m * q.cols), x);
        const std::vector<float> factors(static_cast<size_t>(m), 1.0f);
        const float want = static_cast<float>(x * q.cols * (q.scheme.max_code() - q.scheme.mid_code()));
        for_each_engine([&] {
          std::vector<float> y(static_cast<size_t>(m * q.rows));
          ASSERT_TRUE(low_bit_product_bytes(*context, *w, {codes.data(), factors.data(), m, q.cols, 1}, nullptr, false,
                                            {y.data(), DType::kF32, q.rows})
                          .ok());
          for (const float value : y) ASSERT_EQ(value, want);
        });
      }
    }
  }
}

// Groups longer than what kernels take at once, and more rows than that.
TEST(LowBitBytesTest, LongGroupsAndManyRows) {
  for (const char* name : {"w4row", "w8row", "w8rowa", "w8g1024"}) {
    for (const int64_t m : {1, 33, 70}) {
      check(name, m, 66, 1000, false);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(LowBitBytesTest, Edges) {
  for (const char* name : {"w2g32", "w4g32a", "w8g32"}) {
    for (const int64_t rows : {1, 16, 17}) {
      for (const int64_t cols : {1, 7, 33, 129}) check(name, 3, rows, cols, true);
    }
    check(name, 5, 18, 640, false, true);
  }
}

TEST(LowBitBytesTest, OnlyWhatFits) {
  const auto context = make_context(1);
  EXPECT_FALSE(takes_bytes(*tile_matrix(*context, random_matrix(1, 64, *scheme_preset("w3g32"), 1))));
  EXPECT_FALSE(takes_bytes(*tile_matrix(*context, random_matrix(1, 64, *scheme_preset("nf4b32"), 1))));
  EXPECT_FALSE(takes_bytes(*tile_matrix(*context, random_matrix(1, 65540, *scheme_preset("w8row"), 1))));
  check("w8row", 1, 1, 65536, false);
}

TEST(LowBitBytesTest, TheSameBitsForAnyNumberOfThreadsAndRowsBesideIt) {
  const auto q = random_matrix(200, 640, *scheme_preset("w4g128a"), 4);
  const auto codes = random_codes(9 * q.cols);
  const auto factors = normal(9, 3);
  for_each_engine([&] {
    std::vector<float> first;
    for (const int32_t threads : {1, 2, 3, 8}) {
      const auto context = make_context(threads);
      const auto w = tile_matrix(*context, q);
      std::vector<float> y(static_cast<size_t>(9 * q.rows)), one(static_cast<size_t>(q.rows));
      ASSERT_TRUE(low_bit_product_bytes(*context, *w, {codes.data(), factors.data(), 9, q.cols, 1}, nullptr, false,
                                        {y.data(), DType::kF32, q.rows})
                      .ok());
      if (first.empty()) first = y;
      ASSERT_EQ(std::memcmp(first.data(), y.data(), y.size() * sizeof(float)), 0);
      ASSERT_TRUE(low_bit_product_bytes(*context, *w, {codes.data() + 3 * q.cols, &factors[3], 1, q.cols, 1}, nullptr,
                                        false, {one.data(), DType::kF32, q.rows})
                      .ok());
      ASSERT_EQ(std::memcmp(one.data(), &y[static_cast<size_t>(3 * q.rows)], one.size() * sizeof(float)), 0);
    }
  });
}

// input_codes stands for the numbers that quantize_inputs gives.
TEST(LowBitBytesTest, CodesOfInputsAreTheRoundedInputs) {
  for (const char* name : {"w8a8", "w8a8s", "llm-int8"}) {
    SCOPED_TRACE(name);
    QMatrix q;
    q.cols = 64;
    q.scheme = *scheme_preset(name);
    q.input_scale = 0.02f;
    auto x = normal(3 * 64, 21);
    x[70] = 9;  // an outlier
    std::fill(x.begin() + 128, x.end(), 0.0f);
    const MatrixView view{x.data(), 3, 64, 64};
    std::vector<float> want(x.size());
    quantize_inputs(q, view, want.data());
    InputCodes in;
    ASSERT_TRUE(input_codes(*make_context(2), input_rule(q), view, &in).ok());
    EXPECT_EQ(in.rest.empty(), std::string(name) != "llm-int8");
    for (size_t i = 0; i < x.size(); ++i) {
      const float rest = in.rest.empty() ? 0.0f : in.rest.data()[i];
      ASSERT_EQ(static_cast<float>(in.codes[i]) * in.factors[i / 64] + rest, want[i]) << i;
    }
  }
}

// A code for each number, no further from it than half a step of its own run; what is not finite spoils its run alone.
TEST(LowBitBytesTest, EachRunOfInputsHasItsOwnStep) {
  const std::vector<int32_t> starts = {0, 32, 96, 128};
  auto x = normal(2 * 128, 22);
  for (int64_t c = 0; c < 32; ++c) x[c] *= 1000;
  for (int64_t c = 96; c < 128; ++c) x[c] = 0;
  x[128 + 40] = std::nanf("");
  InputCodes in;
  ASSERT_TRUE(input_codes_of_runs(*make_context(2), starts, {x.data(), 2, 128, 128}, &in).ok());
  ASSERT_EQ(in.factors_of_row, 3);
  for (size_t t = 0; t < 2; ++t) {
    for (size_t g = 0; g < 3; ++g) {
      const float factor = in.factors[t * 3 + g];
      ASSERT_EQ(std::isnan(factor), t == 1 && g == 1);
      float most = 0;
      for (auto c = static_cast<size_t>(starts[g]); c < static_cast<size_t>(starts[g + 1]); ++c) {
        const float value = x[t * 128 + c];
        most = std::max(most, std::fabs(value));
        if (std::isnan(factor)) continue;
        ASSERT_LE(std::fabs(in.codes[t * 128 + c] * factor - value), 0.5001f * factor);
      }
      ASSERT_TRUE(std::isnan(factor) || factor == most / 127.5f);
    }
  }
}

TEST(LowBitBytesTest, RoundedProductIsThatOfTheCodes) {
  const auto context = make_context(2);
  for (const bool act_order : {false, true}) {
    const auto q = random_matrix(40, 384, *scheme_preset("w4g128a"), 6, act_order);
    const auto w = tile_matrix(*context, q);
    const auto x = normal(5 * q.cols, 7);
    const MatrixView view{x.data(), 5, q.cols, q.cols};
    InputCodes in;
    if (act_order) {
      ASSERT_TRUE(input_codes(*context, {CodeKind::kInt, Activations::kToken, 0}, view, &in).ok());
    } else {
      ASSERT_TRUE(input_codes_of_runs(*context, w->starts, view, &in).ok());
    }
    for_each_engine([&] {
      std::vector<float> y(static_cast<size_t>(5 * q.rows)), want(y.size());
      ASSERT_TRUE(rounded_product(*context, *w, view, nullptr, false, {y.data(), DType::kF32, q.rows}).ok());
      ASSERT_TRUE(low_bit_product_bytes(*context, *w,
                                        {in.codes.data(), in.factors.data(), 5, q.cols, act_order ? 1 : w->groups()},
                                        nullptr, false, {want.data(), DType::kF32, q.rows})
                      .ok());
      ASSERT_EQ(y, want);
    });
  }
}

}  // namespace
}  // namespace qz
