// The product for more than 64 tokens by wgmma, on the emulator, against sums in double precision.
#include "wide.h"

#include <array>

#include "product_check.h"

namespace qz::cuda {
namespace {

void check_wide(int64_t m, int64_t rows, int64_t cols, const char* scheme, DType type, DType scale, uint32_t seed) {
  const DType y_type = seed % 2 ? type : DType::kF32;
  check({m, rows, cols, scheme, type, y_type, scale, 1, seed % 3 == 0, Case::kWide}, seed);
}

// Scales that F16 holds are stored so, whatever type they had.
TEST(WideTest, GroupsTypesAndZeroPoints) {
  uint32_t seed = 0;
  for (const char* scheme : {"w4g16", "w4g16a", "w4g32a", "w4g64", "w4g128", "w4g128a", "w4g1024", "w4row", "w4rowa"})
    for (const DType type : {DType::kF16, DType::kBF16})
      for (const DType scale : {type, DType::kF32}) check_wide(70, 64, 448, scheme, type, scale, ++seed);
}

TEST(WideTest, EdgesOfTheMatrix) {
  uint32_t seed = 100;
  for (const int64_t cols : {1, 7, 64, 130, 449}) {
    for (const auto& [m, rows] : {std::pair{1, 1}, {65, 64}, {128, 70}, {129, 256}, {66, 257}}) {
      const char* scheme = std::array{"w4g32a", "w4g128", "w4rowa", "w4g16"}[++seed % 4];
      check_wide(m, rows, cols, scheme, seed % 3 ? DType::kF16 : DType::kBF16, DType::kF16, seed);
    }
  }
}

}  // namespace
}  // namespace qz::cuda
