#include <algorithm>

#include "problem.h"

namespace qz::cuda {
namespace {

void check(int64_t rows, int64_t cols, const char* scheme, DType scale, DType out, int32_t first, uint32_t seed) {
  SCOPED_TRACE(std::string(scheme) + " " + std::to_string(rows) + " x " + std::to_string(cols) + ", stripe " +
               std::to_string(first));
  const Problem p(rows, cols, scheme, scale, seed);
  const int64_t row0 = first * kBrickSide, part = std::min<int64_t>(rows - row0, 2 * kBrickSide), stride = cols + 3;
  const auto width = static_cast<int64_t>(dtype_bits(out) / 8);
  DeviceArray memory(static_cast<size_t>(part * stride * width));
  device().failure.clear();
  const DequantizeArgs args = {
      p.view(), memory.as<void>(), stride, float_of(out), first, static_cast<int32_t>(bricks_of(part))};
  ASSERT_EQ(launch_dequantize(args, nullptr), 0);
  EXPECT_EQ(device().failure, "");
  for (int64_t r = 0; r < part; ++r) {
    for (int64_t c = 0; c < stride; ++c) {
      const char* at = memory.as<char>() + (r * stride + c) * width;
      float found;
      to_f32(at, out, 1, &found);
      if (c >= cols) {
        ASSERT_TRUE(std::isnan(found)) << "written beside the matrix: " << r << ", " << c;
      } else {
        ASSERT_EQ(found, round_to(p.weights[static_cast<size_t>((row0 + r) * cols + c)], out)) << r << ", " << c;
      }
    }
  }
}

TEST(DequantizeTest, EveryWeightRoundedOnce) {
  uint32_t seed = 0;
  for (const char* scheme : {"w4g16", "w4g32a", "w4g64", "w4g128a", "w4rowa", "w3g32", "w2g64a", "w4tensor"}) {
    for (const auto& [rows, cols] : {std::pair{1, 1}, {64, 64}, {65, 127}, {130, 320}}) {
      const DType scale = std::array{DType::kF16, DType::kBF16, DType::kF32}[++seed % 3];
      check(rows, cols, scheme, scale, std::array{DType::kBF16, DType::kF16, DType::kF32}[seed / 3 % 3], 0, seed);
    }
  }
  check(300, 128, "w4g64a", DType::kF16, DType::kBF16, 1, 1);
  check(300, 128, "w4g64a", DType::kF16, DType::kF32, 4, 2);
}

}  // namespace
}  // namespace qz::cuda
