#include "method/range.h"

#include <cfloat>
#include <limits>

#include "tensor/convert.h"
#include "unit/method/problem.h"

namespace qz {
namespace {

RangeOptions min_max(int32_t min_zero = 0) { return {false, false, min_zero}; }

Grid grid_of(const Matrix& w, const Scheme& scheme, const RangeOptions& options, const float* weights = nullptr) {
  auto grid = choose_grid(*make_context(2), w.view(), weights, scheme, options);
  EXPECT_TRUE(grid.ok()) << grid.status().text();
  return grid.ok() ? std::move(*grid) : Grid();
}

// Weighted squared error of rounding to a grid, in double: by column and by the size of the weight.
double rounding_loss(const Matrix& w, const float* weights, const Scheme& scheme, const Grid& grid) {
  const std::vector<uint8_t> codes = nearest_codes(*make_context(1), w.view(), grid, scheme);
  const int64_t size = scheme.group_size(w.cols());
  double total = 0, floor = 0;
  for (int64_t r = 0; r < w.rows(); r++)
    for (int64_t c = 0; c < w.cols(); c++) {
      if (c % size == 0) {
        double squares = 0;
        for (int64_t j = c; j < c + size; j++) squares += std::pow(static_cast<double>(w.row(r)[j]), 2);
        floor = (std::pow(2, scheme.bits - 2) - 0.99) * squares / static_cast<double>(size);
      }
      const size_t g = static_cast<size_t>(grid.at(r, c / scheme.group_size(w.cols())));
      const double d =
          static_cast<double>(w.row(r)[c]) -
          static_cast<double>(grid.scale[g]) *
              (static_cast<double>(codes[static_cast<size_t>(r * w.cols() + c)]) - static_cast<double>(grid.zero[g]));
      total += (weights ? static_cast<double>(weights[c]) : 1) *
               std::sqrt(floor + std::pow(static_cast<double>(w.row(r)[c]), 2)) * d * d;
    }
  return total;
}

TEST(NearestCode, RoundsToEvenAndClips) {
  EXPECT_EQ(nearest_code(0.5f, 1, 2, 15), 2);
  EXPECT_EQ(nearest_code(1.5f, 1, 2, 15), 4);
  EXPECT_EQ(nearest_code(-0.51f, 1, 2, 15), 1);
  EXPECT_EQ(nearest_code(-100, 1, 2, 15), 0);
  EXPECT_EQ(nearest_code(1e30f, 1, 2, 15), 15);
  EXPECT_EQ(nearest_code(-1e30f, 1, 2, 15), 0);
  EXPECT_EQ(nearest_code(254.6f, 1, 0, 255), 255);
}

TEST(Range, MinMaxFollowsTheDefinition) {
  Matrix w(1, 16);
  for (int64_t j = 0; j < 16; j++) w.row(0)[j] = static_cast<float>(j) / 10 - 0.4f;  // -0.4 ... 1.1
  const Grid symmetric = grid_of(w, make_scheme(4, 16), min_max());
  EXPECT_FLOAT_EQ(symmetric.scale[0], 2.2f / 15);  // 2 max |w| / (2^bits - 1)
  EXPECT_EQ(symmetric.zero[0], 8);
  const Grid asymmetric = grid_of(w, make_scheme(4, 16, false), min_max());
  EXPECT_FLOAT_EQ(asymmetric.scale[0], 0.1f);
  EXPECT_EQ(asymmetric.zero[0], 4);
  // With the sign free, the larger extreme meets code 0, the longer end of the grid.
  const Grid longer = grid_of(w, make_scheme(4, 16), {false, true, 0});
  EXPECT_FLOAT_EQ(longer.scale[0], -1.1f / 8);
}

// 16 levels of a 4-bit grid come back exactly, whatever the lever.
TEST(Range, ValuesOfAGridComeBack) {
  for (const bool search : {false, true})
    for (const bool symmetric : {false, true}) {
      Matrix w(2, 32);
      for (int64_t r = 0; r < 2; r++)
        for (int64_t c = 0; c < 32; c++) w.row(r)[c] = 0.0625f * static_cast<float>(c * 5 % 16 - 8);
      const Scheme scheme = make_scheme(4, 16, symmetric);
      const Grid grid = grid_of(w, scheme, {search, true, 0});
      const std::vector<uint8_t> codes = nearest_codes(*make_context(1), w.view(), grid, scheme);
      const Matrix back = dequantize(assemble(2, 32, scheme, grid, codes, {}));
      for (int64_t i = 0; i < 64; i++)
        ASSERT_FLOAT_EQ(back.data()[i], w.data()[i]) << "search " << search << " symmetric " << symmetric;
    }
}

TEST(Range, SearchNeverLosesAndIsWeighted) {
  Matrix w = random_matrix(20, 128, 3);
  w.row(4)[7] = 9;
  w.row(5)[100] = -12;
  std::vector<float> weights(128);
  for (size_t j = 0; j < 128; j++) weights[j] = 0.1f + static_cast<float>(j * j % 13);
  for (const int32_t bits : {2, 3, 4, 8})
    for (const bool symmetric : {true, false}) {
      const Scheme scheme = make_scheme(bits, 64, symmetric);
      const double plain = rounding_loss(w, weights.data(), scheme, grid_of(w, scheme, min_max(), weights.data()));
      const RangeOptions unsigned_search = {true, false, 0}, signed_search = {true, true, 0};
      const double searched =
          rounding_loss(w, weights.data(), scheme, grid_of(w, scheme, unsigned_search, weights.data()));
      EXPECT_LE(searched, plain * 1.0001) << bits;
      if (bits <= 3) {
        EXPECT_LT(searched, 0.95 * plain) << bits;
      }
      const Grid unweighted = grid_of(w, scheme, unsigned_search);
      EXPECT_LE(searched, rounding_loss(w, weights.data(), scheme, unweighted) * 1.01) << bits;
      if (symmetric) {  // one end of the grid is longer by a step: 2 bits gain most
        EXPECT_LE(rounding_loss(w, weights.data(), scheme, grid_of(w, scheme, signed_search, weights.data())),
                  searched * (bits == 2 ? 0.95 : 1.01))
            << bits;
      }
    }
}

// What is left of the weights themselves: least squares alone keeps 0.868, 0.966, and 0.991 of normal numbers.
TEST(Range, SearchDoesNotShrinkTheWeights) {
  const Matrix w = random_matrix(64, 128, 3);
  for (const int32_t bits : {2, 3, 4}) {
    const Scheme scheme = make_scheme(bits, 128, true);
    const Grid grid = grid_of(w, scheme, {true, true, 0});
    const Matrix back =
        dequantize(assemble(64, 128, scheme, grid, nearest_codes(*make_context(1), w.view(), grid, scheme), {}));
    double kept = 0, all = 0;
    for (int64_t i = 0; i < 64 * 128; i++) {
      kept += static_cast<double>(w.data()[i] * back.data()[i]);
      all += static_cast<double>(w.data()[i] * w.data()[i]);
    }
    EXPECT_GT(kept / all, bits == 2 ? 0.92 : bits == 3 ? 0.975 : 0.992) << bits;
  }
}

TEST(Range, GroupsOfZerosStayZero) {
  for (const DType scale : {DType::kF16, DType::kBF16, DType::kF32})
    for (const bool symmetric : {true, false})
      for (const bool search : {true, false})
        for (const int32_t min_zero : {0, 1}) {
          Matrix w = random_matrix(2, 64, 1);
          for (int64_t c = 32; c < 64; c++) w.row(1)[c] = 0;
          const Scheme scheme = make_scheme(4, 32, symmetric, scale);
          const Grid grid = grid_of(w, scheme, {search, true, min_zero});
          EXPECT_GE(std::fabs(grid.scale[3]), scale == DType::kF16 ? 6.1e-05f : FLT_MIN);
          EXPECT_GE(grid.zero[3], static_cast<float>(min_zero));
          const Matrix back =
              dequantize(assemble(2, 64, scheme, grid, nearest_codes(*make_context(1), w.view(), grid, scheme), {}));
          for (int64_t c = 32; c < 64; c++) ASSERT_EQ(back.row(1)[c], 0.0f);
        }
}

TEST(Range, ConstantRowsAreExactToOneRoundingOfTheScale) {
  for (const float value : {0.37f, -0.37f, 1e-3f, 777.0f})
    for (const bool symmetric : {true, false})
      for (const bool signed_grid : {true, false}) {
        Matrix w(1, 32);
        std::fill(w.data(), w.data() + 32, value);
        const Scheme scheme = make_scheme(4, 32, symmetric, DType::kF16);
        const Grid grid = grid_of(w, scheme, {true, signed_grid, 0});
        const Matrix back =
            dequantize(assemble(1, 32, scheme, grid, nearest_codes(*make_context(1), w.view(), grid, scheme), {}));
        EXPECT_NEAR(back.row(0)[5], value, std::fabs(value) / 1024);  // F16 has 11 bits
      }
}

TEST(Range, ScalesAreWhatTheTypeCanHold) {
  const Matrix w = random_matrix(40, 64, 8);
  for (const DType scale : {DType::kF16, DType::kBF16})
    for (const bool search : {true, false})
      for (const float s : grid_of(w, make_scheme(3, 16, true, scale), {search, true, 0}).scale)
        ASSERT_EQ(round_to(s, scale), s);
}

TEST(Range, ScalesBeyondTheTypeAreNumericErrors) {
  Matrix w = random_matrix(3, 32, 8);
  w.row(2)[17] = 3e6f;  // 3e6 / 8 is above 65504
  for (const bool search : {true, false}) {
    const auto f16 =
        choose_grid(*make_context(1), w.view(), nullptr, make_scheme(4, 16, true, DType::kF16), {search, true, 0});
    ASSERT_FALSE(f16.ok());
    EXPECT_EQ(f16.status().code(), Code::kNumeric);
    EXPECT_NE(f16.status().text().find("row 2, group 1"), std::string::npos) << f16.status().text();
    EXPECT_TRUE(
        choose_grid(*make_context(1), w.view(), nullptr, make_scheme(4, 16, true, DType::kBF16), {search, true, 0})
            .ok());
  }
}

TEST(Range, TinyWeightsDoNotUnderflowToAZeroScale) {
  Matrix w(1, 32);
  for (int64_t c = 0; c < 32; c++) w.row(0)[c] = c % 2 ? 1e-9f : -1e-9f;
  for (const bool search : {true, false}) {
    const Grid grid = grid_of(w, make_scheme(4, 32, true, DType::kF16), {search, true, 0});
    EXPECT_NE(grid.scale[0], 0.0f);
    EXPECT_TRUE(std::isfinite(grid.inverse[0]));
  }
  // 1 / scale of a subnormal is infinite; it must not come to that.
  Matrix subnormal(1, 32);
  for (int64_t c = 0; c < 32; c++) subnormal.row(0)[c] = c % 2 ? 1e-44f : -1e-44f;
  const auto grid = choose_grid(*make_context(1), subnormal.view(), nullptr, make_scheme(4, 32), {false, true, 0});
  ASSERT_TRUE(grid.ok()) << grid.status().text();
  EXPECT_TRUE(std::isfinite(grid->inverse[0]));
}

TEST(Range, ZeroPointsStayInReach) {
  Matrix w(2, 32);
  for (int64_t c = 0; c < 32; c++) {
    w.row(0)[c] = 1 + static_cast<float>(c) / 32;   // all positive: the zero point would be 0
    w.row(1)[c] = -1 - static_cast<float>(c) / 32;  // all negative: the largest
  }
  for (const bool search : {true, false}) {
    const Grid any = grid_of(w, make_scheme(4, 32, false), {search, true, 0});
    EXPECT_EQ(any.zero[0], 0);
    EXPECT_EQ(any.zero[1], 15);
    const Grid v1 = grid_of(w, make_scheme(4, 32, false), {search, true, 1});
    EXPECT_EQ(v1.zero[0], 1);
    EXPECT_EQ(v1.zero[1], 15);
    for (const float s : v1.scale) EXPECT_GT(s, 0);
  }
}

TEST(Range, OneScalePerTensorCoversAllRows) {
  Matrix w = random_matrix(70, 24, 2);
  w.row(66)[3] = 10;
  const Grid grid = grid_of(w, make_scheme(8, kGroupTensor), min_max());
  ASSERT_EQ(grid.scale.size(), 70u);
  for (const float s : grid.scale) EXPECT_FLOAT_EQ(s, 20.0f / 255);
}

}  // namespace
}  // namespace qz
