// The product for 9 to 64 tokens on the emulator against sums in double precision.
#include "ring.h"

#include <array>

#include "product_check.h"

namespace qz::cuda {
namespace {

TEST(RingTest, GroupsTypesAndZeroPoints) {
  uint32_t seed = 0;
  for (const char* scheme : {"w4g16", "w4g16a", "w4g32a", "w4g64", "w4g128", "w4g128a", "w4g1024", "w4row", "w4rowa"}) {
    for (const DType type : {DType::kF16, DType::kBF16}) {
      const DType scale = std::array{DType::kF16, DType::kBF16, DType::kF32}[++seed % 3];
      const auto [m, parts] =
          std::array{std::pair{16, 2}, std::pair{27, 2}, std::pair{41, 1}, std::pair{64, 2}}[seed % 4];
      check({m, 64, 1088, scheme, type, seed % 2 ? type : DType::kF32, scale, 1, seed % 3 == 0, parts}, seed);
    }
  }
}

TEST(RingTest, EveryVariant) {
  uint32_t seed = 50;
  for (const auto& [m, parts] : {std::pair{9, 2}, {16, 2}, {17, 2}, {32, 2}, {33, 1}, {64, 1}, {33, 2}, {64, 2}})
    for (const char* scheme : {"w4g32a", "w4g128a"})
      for (const DType type : {DType::kF16, DType::kBF16})
        check({m, 130, 576, scheme, type, DType::kF32, DType::kF16, 1, false, parts}, ++seed);
}

TEST(RingTest, EdgesOfTheMatrix) {
  uint32_t seed = 100;
  for (const int64_t cols : {1, 7, 64, 65, 130, 321, 705}) {
    for (const int64_t rows : {1, 64, 70, 257}) {
      const char* scheme = std::array{"w4g32a", "w4g128", "w4rowa"}[++seed % 3];
      const int32_t parts = seed % 4 ? 2 : 1;
      const int64_t m = parts == 1 ? 33 + seed % 32 : 9 + seed % 56;
      check({m, rows, cols, scheme, DType::kF16, DType::kF16, DType::kF16, 1, true, parts}, seed);
    }
  }
}

TEST(RingTest, SharesOfColumnsAreAddedInOrder) {
  for (const int32_t splits : {2, 3, 8})
    for (const char* scheme : {"w4g16a", "w4g128a", "w4row"})
      for (const auto& [m, parts] : {std::pair{20, 2}, {40, 1}})
        check({m, 150, 1088, scheme, DType::kBF16, DType::kBF16, DType::kBF16, splits, true, parts}, 7);
}

}  // namespace
}  // namespace qz::cuda
