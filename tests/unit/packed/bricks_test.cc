// The layout of 4-bit weights for GPUs: every code once, where the PTX ISA says that the fragment has it, in whole
// words that a warp reads next to each other.
#include "packed/bricks.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "packed/layout.h"
#include "random_matrix.h"
#include "tensor/convert.h"

namespace qz {
namespace {

static_assert(brick_place(0, 0, 64).word == 0 && brick_place(0, 0, 64).shift == 0);
static_assert(brick_element(kBrickWords, 0, 128).col == 64 && brick_element(kBrickWords, 0, 64).row == 64);

TEST(LayoutTest, EveryCodeHasAPlaceOfItsOwn) {
  for (const auto& [rows, cols] : {std::pair{64, 64}, {128, 192}, {192, 64}}) {
    std::set<int64_t> used;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        const BrickPlace at = brick_place(r, c, cols);
        ASSERT_TRUE(at.word >= 0 && at.word < rows * cols / 8 && at.shift % 4 == 0 && at.shift < 32);
        ASSERT_TRUE(used.insert(at.word * 8 + at.shift / 4).second) << r << ", " << c;
        const BrickElement back = brick_element(at.word, at.shift / 4, cols);
        ASSERT_EQ(back.row, r);
        ASSERT_EQ(back.col, c);
      }
    }
    EXPECT_EQ(used.size(), static_cast<size_t>(rows * cols)) << "no spare bits";
  }
}

// PTX ISA 8.x, 9.7.14.5.8, the A fragment of .m16n8k16 of 16-bit floats: for a_i, groupID = lane / 4,
// threadID_in_group = lane % 4: row = groupID for 0 <= i < 2 || 4 <= i < 6, else groupID + 8;
// col = threadID_in_group * 2 + (i & 1) for i < 4, else + 8. Register j holds a_2j and a_2j+1.
TEST(LayoutTest, AWordIsALanesFragment) {
  for (int32_t lane = 0; lane < 32; ++lane) {
    for (int32_t i = 0; i < 8; ++i) {
      const bool upper = i < 2 || (i >= 4 && i < 6);
      const int64_t row = lane / 4 + (upper ? 0 : 8), col = lane % 4 * 2 + (i & 1) + (i < 4 ? 0 : 8);
      const int32_t shift = 4 * (i / 2) + 16 * (i & 1);
      for (const auto& [tile, atom] : {std::pair{0, 0}, {3, 0}, {0, 3}, {2, 1}}) {
        const BrickPlace at = brick_place(64 + tile * 16 + row, 64 + atom * 16 + col, 256);
        EXPECT_EQ(at.word, (4 + 1) * kBrickWords + tile * 128 + lane * 4 + atom);
        EXPECT_EQ(at.shift, shift);
      }
    }
  }
}

// 16 bytes a lane: eight lanes at a time read 128 bytes in 32 different banks, and the warp 512 next to each other.
TEST(LayoutTest, AWarpReadsWholeLines) {
  for (int32_t first = 0; first < 32; first += 8) {
    std::set<int64_t> banks;
    for (int32_t lane = first; lane < first + 8; ++lane) {
      const int64_t word = brick_place(lane / 4, lane % 4 * 2, 64).word;
      EXPECT_EQ(word % 4, 0) << "aligned to 16 bytes";
      for (int64_t w = word; w < word + 4; ++w) banks.insert(w % 32);
    }
    EXPECT_EQ(banks.size(), 32u);
  }
}

TEST(LayoutTest, ScalesOfALaneAreNeighbours) {
  std::set<int64_t> used;
  for (int64_t r = 0; r < 128; ++r) {
    for (int64_t g = 0; g < 3; ++g) used.insert(brick_scale_place(r, g, 3));
    if (r % 16 >= 8) continue;
    EXPECT_EQ(brick_scale_place(r, 1, 3) + 1, brick_scale_place(r + 8, 1, 3));
    EXPECT_EQ(brick_scale_place(r, 1, 3) % 2, 0);
  }
  EXPECT_EQ(used.size(), 128u * 3);
  EXPECT_EQ(*used.rbegin(), 128 * 3 - 1);
}

// The weight that a reader of the layout finds.
float weight_at(const Bricks& b, int64_t r, int64_t c) {
  const BrickPlace at = brick_place(r, c, b.cols);
  uint32_t word;
  std::memcpy(&word, b.codes.data() + at.word * 4, 4);
  const int64_t groups = brick_groups(b.cols, b.group), g = std::min(b.group ? c / b.group : 0, groups - 1);
  const int64_t place = brick_scale_place(r, g, groups);
  float scale;
  to_f32(b.scales.data() + place * static_cast<int64_t>(dtype_bits(b.scale_type) / 8), b.scale_type, 1, &scale);
  const int32_t zero = b.zeros.empty() ? b.zero : b.zeros.data()[place];
  return static_cast<float>(static_cast<int32_t>(word >> at.shift & 15) - zero) * scale;
}

TEST(BricksTest, EveryWeightIsKeptAndTheRestIsZero) {
  const auto context = make_context(2);
  uint32_t seed = 0;
  for (const char* name :
       {"w2g32", "w3g64a", "w4g16", "w4g32", "w4g64", "w4g128a", "w4g1024", "w4row", "w4rowa", "w4tensor"}) {
    for (const auto& [rows, cols] : {std::pair{1, 16}, {64, 64}, {70, 200}, {129, 640}}) {
      SCOPED_TRACE(std::string(name) + " " + std::to_string(rows) + " x " + std::to_string(cols));
      Scheme scheme = *scheme_preset(name);
      scheme.scale = std::array{DType::kF32, DType::kF16, DType::kBF16}[++seed % 3];
      const QMatrix q = random_matrix(rows, cols, scheme, seed);
      const auto b = lay_bricks(*context, q);
      ASSERT_TRUE(b.ok()) << b.status().text();
      ASSERT_TRUE(scheme.scale != DType::kF16 || b->scale_type == DType::kF16);
      std::vector<float> want(static_cast<size_t>(cols));
      for (int64_t r = 0; r < bricks_of(rows) * kBrickSide; ++r) {
        if (r < rows) dequantize_row(q, r, want.data());
        for (int64_t c = 0; c < bricks_of(cols) * kBrickSide; ++c)
          ASSERT_EQ(weight_at(*b, r, c), r < rows && c < cols ? want[static_cast<size_t>(c)] : 0.0f) << r << ", " << c;
      }
    }
  }
}

TEST(BricksTest, WhatDoesNotFitIsSaid) {
  const auto context = make_context(1);
  for (const auto& [name, words] : {std::pair{"w8g128", "more than 4 bits"},
                                    {"nf4", "not integers"},
                                    {"w4g64f", "not integers"},
                                    {"w4g24", "not a power of two"},
                                    {"w4g96", "not a power of two"}}) {
    const Status status = lay_bricks(*context, random_matrix(8, 384, *scheme_preset(name), 1)).status();
    EXPECT_EQ(status.code(), Code::kUnsupported) << name;
    EXPECT_NE(status.text().find(words), std::string::npos) << status.text();
  }
  QMatrix q = random_matrix(8, 256, *scheme_preset("w4g128"), 1);
  q.g_idx.assign(256, 0);
  q.g_idx[7] = 1;
  EXPECT_EQ(check_bricks(q).code(), Code::kUnsupported);
}

}  // namespace
}  // namespace qz
