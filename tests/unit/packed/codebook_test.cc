#include "packed/codebook.h"

#include <gtest/gtest.h>

#include <cmath>

namespace qz {
namespace {

TEST(Codebook, EveryValueIsItsOwnNearest) {
  for (const CodeKind kind : {CodeKind::kNf4, CodeKind::kFp4, CodeKind::kFp8}) {
    const std::vector<float>& table = codebook(kind);
    ASSERT_EQ(table.size(), kind == CodeKind::kFp8 ? 256u : 16u);
    for (size_t code = 0; code < table.size(); ++code) {
      if (std::isnan(table[code])) continue;
      EXPECT_EQ(table[nearest_in_codebook(kind, table[code])], table[code]) << code;
    }
  }
  EXPECT_TRUE(codebook(CodeKind::kInt).empty());
}

TEST(Codebook, E4M3HasTheNumbersOfItsSpecification) {
  const std::vector<float>& t = codebook(CodeKind::kFp8);  // OCP OFP8, table 1
  EXPECT_EQ(t[0x01], std::ldexp(1.0f, -9));                // smallest subnormal
  EXPECT_EQ(t[0x07], std::ldexp(0.875f, -6));              // largest subnormal
  EXPECT_EQ(t[0x08], std::ldexp(1.0f, -6));                // smallest normal
  EXPECT_EQ(t[0x7E], 448.0f);                              // largest
  EXPECT_EQ(t[0x38], 1.0f);
  EXPECT_EQ(t[0xB8], -1.0f);
  EXPECT_TRUE(std::isnan(t[0x7F]) && std::isnan(t[0xFF]));
}

// Against a search of the whole table, ties to the even code.
TEST(Codebook, Fp8RoundsToNearestEven) {
  const std::vector<float>& t = codebook(CodeKind::kFp8);
  for (int i = -4000; i <= 4000; ++i) {
    const float x = static_cast<float>(i) * 0.1253f * std::ldexp(1.0f, -(std::abs(i) % 14));
    int best = 0;
    for (int c = 0; c < 127; ++c) {
      const float d = std::fabs(t[static_cast<size_t>(c)] - std::fabs(x));
      const float least = std::fabs(t[static_cast<size_t>(best)] - std::fabs(x));
      if (d < least || (d == least && c % 2 == 0)) best = c;
    }
    EXPECT_EQ(nearest_in_codebook(CodeKind::kFp8, x) & 127, best) << x;
  }
  EXPECT_EQ(nearest_in_codebook(CodeKind::kFp8, 1e30f), 0x7E);
  EXPECT_EQ(nearest_in_codebook(CodeKind::kFp8, -1e30f), 0xFE);
  EXPECT_EQ(nearest_in_codebook(CodeKind::kFp8, 17.0f), nearest_in_codebook(CodeKind::kFp8, 16.0f));  // tie to even
  EXPECT_EQ(nearest_in_codebook(CodeKind::kFp8, 19.0f), nearest_in_codebook(CodeKind::kFp8, 20.0f));
}

TEST(Codebook, TheMiddleGoesDown) {
  EXPECT_EQ(nearest_in_codebook(CodeKind::kNf4, 0.8614784181118011f), 14);
  EXPECT_EQ(nearest_in_codebook(CodeKind::kNf4, std::nextafter(0.8614784181118011f, 1.0f)), 15);
  EXPECT_EQ(nearest_in_codebook(CodeKind::kNf4, -5.0f), 0);
  EXPECT_EQ(nearest_in_codebook(CodeKind::kFp4, -0.3f), 12);  // -1/3
  EXPECT_EQ(nearest_in_codebook(CodeKind::kFp4, -1e-4f), 0);
}

TEST(Codebook, TheDynamicMapHasItsShape) {
  const std::vector<float>& map = dynamic_map();
  ASSERT_EQ(map.size(), 256u);
  EXPECT_EQ(map[255], 1.0f);
  EXPECT_EQ(map[0], -0.99296874f);  // as bitsandbytes 0.50 writes it
  EXPECT_EQ(map[254], 0.99296874f);
  for (size_t i = 1; i < map.size(); ++i) EXPECT_LT(map[i - 1], map[i]);
  for (size_t i = 0; i < map.size(); ++i) EXPECT_EQ(nearest_in_map(map, map[i]), i);
  EXPECT_EQ(nearest_in_map(map, 7.0f), 255);
  EXPECT_EQ(nearest_in_map(map, -7.0f), 0);
}

}  // namespace
}  // namespace qz
