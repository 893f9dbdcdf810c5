// Tiling and reading back gives the weights of dequantize_row, which knows nothing of tiles, bit for bit.
#include "packed/tiles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "../kernels/each_engine.h"
#include "random_matrix.h"

namespace qz {
namespace {

void check(const QMatrix& q) {
  SCOPED_TRACE(scheme_name(q.scheme) + " " + std::to_string(q.rows) + " x " + std::to_string(q.cols));
  ASSERT_TRUE(check_qmatrix(q).ok()) << check_qmatrix(q).text();
  ASSERT_TRUE(can_tile(q));
  const auto context = make_context(2);
  const auto tiles = tile_matrix(*context, q);
  ASSERT_TRUE(tiles.ok()) << tiles.status().text();
  std::vector<float> want(static_cast<size_t>(q.cols)), found(want.size());
  for_each_engine([&] {
    for (int64_t r = 0; r < q.rows; ++r) {
      dequantize_row(q, r, want.data());
      expand_row(*tiles, r, found.data());
      for (size_t c = 0; c < want.size(); ++c) {
        // s / 127 * x rounds elsewhere than s * x / 127; zero - 128, below 256, rounds by 2^-17 at most.
        const bool rounds = q.scheme.code == CodeKind::kLlmInt8 || (q.scheme.float_zero && q.scheme.bits == 8);
        const float room = rounds ? std::fabs(want[c]) * 0x1p-21f + 0x1p-17f * 0.02f : 0.0f;
        ASSERT_NEAR(found[c], want[c], room) << "row " << r << ", column " << c;
      }
    }
  });
}

TEST(TilesTest, EveryPlaceOfALayoutIsUsedOnce) {
  for (const TileLayout& layout : kTileLayouts) {
    std::set<int32_t> used;
    for (int32_t k = 0; k < layout.columns; ++k) {
      for (int32_t b = 0; b < layout.bits; ++b) {
        const BitPlace at = bit_place(layout.bits, k, b);
        EXPECT_LT(at.line, layout.lines);
        EXPECT_LT(at.bit, 32);
        EXPECT_TRUE(used.insert(at.line * 32 + at.bit).second) << layout.bits << " bits, column " << k << ", bit " << b;
      }
    }
    EXPECT_EQ(used.size(), static_cast<size_t>(32 * layout.lines)) << "a unit has no spare bits";
  }
}

TEST(TilesTest, EverySchemeKeepsItsWeights) {
  uint32_t seed = 0;
  for (const char* name : {"w2g32", "w2g64a", "w3g32",    "w3g128a", "w4g32",  "w4g128",  "w4g128a", "w4g1024",
                           "w4row", "w4rowa", "w4tensor", "w4g64f",  "w3g64f", "w8g64f",  "w8g128",  "w8g128a",
                           "w8row", "w8a8",   "nf4",      "fp4",     "nf4b64", "llm-int8"}) {
    auto scheme = scheme_preset(name);
    ASSERT_TRUE(scheme.ok()) << name;
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      scheme->scale = type;
      check(random_matrix(1, 128, *scheme, ++seed));
      check(random_matrix(35, 384, *scheme, ++seed));
    }
  }
}

TEST(TilesTest, ColumnsThatFillNoUnit) {
  for (const char* name : {"w2g24", "w3g40a", "w4g24", "w4g1000a", "w8row", "w3row", "w2rowa"}) {
    const auto scheme = scheme_preset(name);
    ASSERT_TRUE(scheme.ok()) << name;
    for (const int64_t cols : {1, 7, 31, 129, 1001}) check(random_matrix(17, cols, *scheme, 5));
  }
}

TEST(TilesTest, ActOrderIsAnOrderOfColumns) {
  for (const char* name : {"w2g32a", "w3g32", "w4g128a", "w8g64"}) {
    check(random_matrix(18, 640, *scheme_preset(name), 6, true));
  }
}

TEST(TilesTest, OtherMatricesAreRefused) {
  for (const char* name : {"fp8", "q4_0"}) {
    QMatrix q;
    q.rows = q.cols = 256;
    q.scheme = *scheme_preset(name);
    EXPECT_FALSE(can_tile(q)) << name;
  }
  QMatrix q;
  q.rows = 3, q.cols = 48;
  q.scheme = *scheme_preset("nf4b64");
  EXPECT_FALSE(can_tile(q)) << "blocks run across rows";
}

}  // namespace
}  // namespace qz
