// The product for few tokens on the emulator against sums in double precision.
#include "stream.h"

#include <array>

#include "product_check.h"

namespace qz::cuda {
namespace {

TEST(StreamTest, GroupsTypesAndZeroPoints) {
  uint32_t seed = 0;
  for (const char* scheme : {"w4g16", "w4g32a", "w4g64", "w4g128", "w4g128a", "w4g1024", "w4row", "w4rowa", "w3g32"}) {
    for (const DType type : {DType::kF16, DType::kBF16}) {
      const DType scale = std::array{DType::kF16, DType::kBF16, DType::kF32}[++seed % 3];
      check({seed % 9 + 1, 64, 1088, scheme, type, seed % 2 ? type : DType::kF32, scale, 1, seed % 3 == 0}, seed);
    }
  }
}

TEST(StreamTest, EveryNumberOfTokens) {
  for (int64_t m = 1; m <= kStreamTokens; ++m)
    check({m, 64, 256, "w4g64a", DType::kBF16, DType::kF32, DType::kF16, 1, false}, static_cast<uint32_t>(m));
}

TEST(StreamTest, EdgesOfTheMatrix) {
  uint32_t seed = 100;
  for (const int64_t cols : {1, 7, 16, 63, 64, 65, 130, 321}) {
    for (const int64_t rows : {1, 17, 64, 70}) {
      const char* scheme = std::array{"w4g32a", "w4g128", "w4rowa"}[++seed % 3];
      check({seed % 16 + 1, rows, cols, scheme, DType::kF16, DType::kF16, DType::kF16, 1, true}, seed);
    }
  }
}

TEST(StreamTest, SharesOfColumnsAreAddedInOrder) {
  for (const int32_t splits : {2, 3, 8})
    for (const char* scheme : {"w4g32", "w4g128a", "w4row"})
      check({5, 130, 832, scheme, DType::kBF16, DType::kBF16, DType::kBF16, splits, true}, 7);
}

}  // namespace
}  // namespace qz::cuda
