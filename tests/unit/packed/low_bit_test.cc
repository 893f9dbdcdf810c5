// Products with weights of few bits, on every instruction set of this CPU, against float64 sums over dequantize_row.
#include "kernels/low_bit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "../kernels/each_engine.h"
#include "packed/tiles.h"
#include "random_matrix.h"

namespace qz {
namespace {

constexpr float kUntouched = -12345.5f;
constexpr DType kFloats[] = {DType::kF32, DType::kF16, DType::kBF16};

// Element type, so that values pass through memory of that type.
std::vector<uint8_t> stored(const std::vector<float>& values, DType type) {
  std::vector<uint8_t> bytes(values.size() * dtype_bits(type) / 8);
  from_f32(values.data(), type, values.size(), bytes.data());
  return bytes;
}

std::vector<float> read(const std::vector<uint8_t>& bytes, DType type) {
  std::vector<float> values(bytes.size() * 8 / dtype_bits(type));
  to_f32(bytes.data(), type, values.size(), values.data());
  return values;
}

// Units of rounding of an output type.
double unit(DType type) { return type == DType::kF32 ? 0x1p-24 : type == DType::kF16 ? 0x1p-11 : 0x1p-8; }

// A float32 sum of k terms, in any order, is off by at most k units of rounding times their magnitudes (Higham,
// Accuracy and Stability of Numerical Algorithms, 3.1); a term is x * scale * (value of the code), and, apart, x *
// scale * offset, whatever their difference. This holds for the bfloat16 products of every instruction set
// (docs/numerics.md): the activations themselves are not rounded.
struct Case {
  int64_t m, rows, cols;
  DType x_type, y_type;
  bool bias, accumulate;
};

void check(const Context& context, const QMatrix& q, const Case& c) {
  SCOPED_TRACE(scheme_name(q.scheme) + " m " + std::to_string(c.m) + " rows " + std::to_string(c.rows) + " cols " +
               std::to_string(c.cols) + " x " + dtype_name(c.x_type) + " y " + dtype_name(c.y_type));
  const int64_t xs = c.cols + 3, ys = c.rows + 5;
  const auto x_bytes = stored(normal(c.m * xs, 11), c.x_type);
  const auto x = read(x_bytes, c.x_type);
  const auto bias = normal(c.rows, 12);
  const auto before = read(stored(normal(c.m * ys, 13), c.y_type), c.y_type);
  const Matrix w = dequantize(q);
  const auto tiles = tile_matrix(context, q);
  ASSERT_TRUE(tiles.ok());
  for_each_engine([&] {
    auto start = before;
    for (int64_t i = 0; i < c.m; ++i) {
      for (int64_t j = 0; j < ys; ++j) {
        if (j >= c.rows) start[i * ys + j] = kUntouched;
        if (j < c.rows && !c.accumulate) start[i * ys + j] = std::nanf("");  // must not be read
      }
    }
    auto y_bytes = stored(start, c.y_type);
    const float untouched = read(stored({kUntouched}, c.y_type), c.y_type)[0];
    ASSERT_TRUE(low_bit_product(context, *tiles, {x_bytes.data(), c.x_type, c.m, c.cols, xs},
                                c.bias ? bias.data() : nullptr, c.accumulate, {y_bytes.data(), c.y_type, ys})
                    .ok());
    const auto y = read(y_bytes, c.y_type);
    for (int64_t i = 0; i < c.m; ++i) {
      for (int64_t j = 0; j < c.rows; ++j) {
        double want = (c.bias ? bias[j] : 0.0) + (c.accumulate ? before[i * ys + j] : 0.0), magnitude = std::fabs(want);
        for (int64_t k = 0; k < c.cols; ++k) {
          const double xk = x[i * xs + k];
          const double step = q.scales[static_cast<size_t>(scale_index(q, j, k))];
          want += xk * w.row(j)[k];
          magnitude +=
              std::fabs(xk) * (std::fabs(w.row(j)[k]) + step * (q.zeros.empty() && !q.scheme.float_zero ? 0 : 16));
        }
        const double room = (static_cast<double>(c.cols) + 8) * 0x1p-24 * magnitude + unit(c.y_type) * std::fabs(want);
        ASSERT_NEAR(y[i * ys + j], want, room) << "at " << i << ", " << j;
      }
      for (int64_t j = c.rows; j < ys; ++j) ASSERT_EQ(y[i * ys + j], untouched) << "past the row's end";
    }
  });
}

QMatrix matrix(const char* name, int64_t rows, int64_t cols, DType scale = DType::kF16, bool act_order = false) {
  auto scheme = scheme_preset(name);
  EXPECT_TRUE(scheme.ok()) << name;
  scheme->scale = scale;
  return random_matrix(rows, cols, *scheme, static_cast<uint32_t>(rows * 31 + cols), act_order);
}

TEST(LowBitTest, EverySchemeAndTypeOfInput) {
  const auto context = make_context(2);
  for (const char* name : {"w2g32", "w2g64a", "w3g32", "w3g64a", "w4g32", "w4g128", "w4g128a", "w4g1024", "w4g512a",
                           "w4row", "w4g64f", "w8g128", "w8g128a", "w8row", "nf4b64", "fp4b64", "llm-int8"}) {
    for (const DType type : kFloats) {
      for (const int64_t m : {1, 2, 5}) {
        check(*context, matrix(name, 40, 256), {m, 40, 256, type, type, true, false});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(LowBitTest, EveryNumberOfRowsOfX) {
  const auto context = make_context(2);
  for (int64_t m = 1; m <= 19; ++m) {
    for (const DType type : kFloats) {
      check(*context, matrix("w4g32a", 17, 96), {m, 17, 96, type, DType::kF32, false, false});
      if (HasFatalFailure()) return;
    }
  }
  for (const int64_t m : {31, 33, 64, 100}) {
    for (const DType type : kFloats) {
      for (const char* name : {"w4g128a", "w3g128", "w8g128", "nf4b64"}) {
        check(*context, matrix(name, 49, 256), {m, 49, 256, type, DType::kF32, true, true});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(LowBitTest, EdgesOfTilesAndGroups) {
  const auto context = make_context(2);
  for (const int64_t rows : {1, 15, 16, 17, 31, 32, 33, 65}) {
    for (const int64_t cols : {1, 7, 8, 9, 31, 33, 127, 128, 129, 257}) {
      for (const char* name : {"w4g32", "w3g64a", "w2g32", "w8g32a"}) {
        for (const int64_t m : {1, 7, 8, 9, 70}) {
          check(*context, matrix(name, rows, cols), {m, rows, cols, DType::kBF16, DType::kBF16, false, rows % 2 == 0});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(LowBitTest, ActOrder) {
  const auto context = make_context(2);
  for (const DType type : kFloats) {
    for (const int64_t m : {1, 9, 80}) {
      check(*context, matrix("w4g64a", 33, 512, DType::kF32, true), {m, 33, 512, type, DType::kF32, true, false});
      if (HasFatalFailure()) return;
    }
  }
}

// No part of an input may be lost: weights of one column are 1 and x has bits that bfloat16 and a sum of two cannot
// hold.
TEST(LowBitTest, ActivationsKeepTheirBits) {
  const auto context = make_context(1);
  auto q = matrix("w4g32", 16, 32, DType::kF32);
  std::fill(q.codes.begin(), q.codes.end(), uint8_t{8});
  std::fill(q.scales.begin(), q.scales.end(), 1.0f);
  for (size_t r = 0; r < 16; ++r) q.codes[r * 32 + 5] = 9;
  const auto tiles = tile_matrix(*context, q);
  ASSERT_TRUE(tiles.ok());
  for (const DType type : kFloats) {
    for (const float value : {1.99999988f, -0.333333343f, 65504.0f, 5.9604645e-8f, 3.1415927f}) {
      std::vector<float> x(32);
      x[5] = round_to(value, type);
      const auto bytes = stored(x, type);
      for_each_engine([&] {
        float y[16];
        ASSERT_TRUE(
            low_bit_product(*context, *tiles, {bytes.data(), type, 1, 32, 32}, nullptr, false, {y, DType::kF32, 16})
                .ok());
        for (const float v : y) EXPECT_EQ(v, x[5]) << dtype_name(type);
      });
    }
  }
}

TEST(LowBitTest, InfinityAndNanStayWhatTheyAre) {
  const auto context = make_context(1);
  auto q = matrix("w4g32", 16, 32);
  for (uint8_t& code : q.codes) code = 10;
  const auto tiles = tile_matrix(*context, q);
  ASSERT_TRUE(tiles.ok());
  std::vector<float> x(64, 1.0f);
  x[3] = INFINITY;
  x[32 + 4] = NAN;
  for_each_engine([&] {
    float y[32];
    ASSERT_TRUE(
        low_bit_product(*context, *tiles, {x.data(), DType::kF32, 2, 32, 32}, nullptr, false, {y, DType::kF32, 16})
            .ok());
    for (int i = 0; i < 16; ++i) EXPECT_TRUE(std::isnan(y[16 + i]));
    for (int i = 0; i < 16; ++i) EXPECT_EQ(y[i], INFINITY);
  });
}

// Kernels of blocks give a row the same bits among few and among many.
TEST(LowBitTest, ARowAmongOthersInBlocks) {
  const auto context = make_context(2);
  for (const char* name : {"w4g128a", "w3g64", "w8g128", "nf4b64"}) {
    const auto q = matrix(name, 72, 640);
    const auto tiles = tile_matrix(*context, q);
    ASSERT_TRUE(tiles.ok());
    for (const DType type : kFloats) {
      const auto x = stored(normal(131 * q.cols, 3), type);
      for_each_engine([&] {
        if (!engine().low_bit_blocks) return;
        const int64_t least = engine().low_bit_blocks->least_rows;
        std::vector<float> all(static_cast<size_t>(131 * q.rows)), few(static_cast<size_t>(least * q.rows));
        ASSERT_TRUE(low_bit_product(*context, *tiles, {x.data(), type, 131, q.cols, q.cols}, nullptr, false,
                                    {all.data(), DType::kF32, q.rows})
                        .ok());
        for (const int64_t i : {0, 16, 66, 129}) {
          const auto* row = x.data() + static_cast<size_t>(i * q.cols) * dtype_bits(type) / 8;
          ASSERT_TRUE(low_bit_product(*context, *tiles, {row, type, least, q.cols, q.cols}, nullptr, false,
                                      {few.data(), DType::kF32, q.rows})
                          .ok());
          ASSERT_EQ(std::memcmp(few.data(), &all[static_cast<size_t>(i * q.rows)], few.size() * 4), 0) << name;
        }
      });
    }
  }
}

TEST(LowBitTest, NoRowsAreNoWork) {
  const auto context = make_context(2);
  const auto tiles = tile_matrix(*context, matrix("w4g32", 17, 96));
  ASSERT_TRUE(tiles.ok());
  for_each_engine([&] {
    float y = kUntouched;
    ASSERT_TRUE(
        low_bit_product(*context, *tiles, {&y, DType::kF32, 0, 96, 96}, nullptr, false, {&y, DType::kF32, 17}).ok());
    EXPECT_EQ(y, kUntouched);
  });
}

TEST(LowBitTest, TheSameBitsForAnyNumberOfThreads) {
  for (const char* name : {"w4g128a", "w3g64", "w8g128", "nf4b64"}) {
    const auto q = matrix(name, 200, 640);
    for (const int64_t m : {1, 4, 9, 33}) {
      for (const DType type : kFloats) {
        const auto x = stored(normal(m * q.cols, 3), type);
        for_each_engine([&] {
          std::vector<float> first;
          for (const int32_t threads : {1, 2, 3, 8}) {
            const auto context = make_context(threads);
            const auto tiles = tile_matrix(*context, q);
            ASSERT_TRUE(tiles.ok());
            std::vector<float> y(static_cast<size_t>(m * q.rows));
            ASSERT_TRUE(low_bit_product(*context, *tiles, {x.data(), type, m, q.cols, q.cols}, nullptr, false,
                                        {y.data(), DType::kF32, q.rows})
                            .ok());
            if (first.empty()) first = y;
            ASSERT_EQ(std::memcmp(first.data(), y.data(), y.size() * sizeof(float)), 0) << name << ", m " << m;
          }
        });
      }
    }
  }
}

// Products that need not be exact are those of x rounded to bfloat16 where kernels multiply bfloat16, else exact: to
// the bit.
TEST(LowBitTest, FastProductsAreThoseOfRoundedInputs) {
  const auto exact = make_context(2), fast = with_products(exact, Products::kFast);
  for (const char* name : {"w4g128", "w4g32a", "w3g32", "w8g128", "nf4b32"}) {
    for (const int64_t m : {1, 3, 40}) {
      SCOPED_TRACE(std::string(name) + " m " + std::to_string(m));
      const QMatrix q = matrix(name, 37, 256);
      const auto tiles = tile_matrix(*exact, q);
      auto x = normal(m * q.cols, 8);
      x[3] = 1.00390625f;  // half way between two of them
      const auto halves = stored(x, DType::kBF16);
      for_each_engine([&] {
        const auto product = [&](const ContextPtr& context, const void* data, DType type) {
          std::vector<float> y(static_cast<size_t>(m * q.rows));
          EXPECT_TRUE(low_bit_product(*context, *tiles, {data, type, m, q.cols, q.cols}, nullptr, false,
                                      {y.data(), DType::kF32, q.rows})
                          .ok());
          return y;
        };
        const LowBitBlockKernels* of_blocks = engine().low_bit_blocks;
        const bool rounds =
            (of_blocks && m >= of_blocks->least_rows) || (engine().low_bit_pairs && tiles->bits <= 4 && tiles->linear);
        const auto y = product(fast, x.data(), DType::kF32);
        ASSERT_EQ(y, rounds ? product(exact, halves.data(), DType::kBF16) : product(exact, x.data(), DType::kF32));
      });
    }
  }
}

}  // namespace
}  // namespace qz
