// Every kind of code and grouping against its formula, one element at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "packed/block_code.h"
#include "packed/codebook.h"
#include "packed/qmatrix.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr int64_t kRows = 6, kCols = 32;

QMatrix sample(Scheme scheme) {
  QMatrix q;
  q.rows = kRows;
  q.cols = kCols;
  q.scheme = scheme;
  q.codes.resize(kRows * kCols);
  for (size_t i = 0; i < q.codes.size(); ++i)
    q.codes[i] = static_cast<uint8_t>((i * 37 + 11) % 126 % (1u << scheme.bits));
  q.scales.resize(static_cast<size_t>(scheme.scale_count(kRows, kCols)));
  for (size_t i = 0; i < q.scales.size(); ++i) q.scales[i] = 0.01f * static_cast<float>(i + 1);
  if (scheme.float_zero) q.float_zeros.assign(q.scales.begin(), q.scales.end());
  return q;
}

// expected(code, place of the scale) for each element, whole rows and odd parts of rows.
template <class PlaceOf, class Value>
void expect_values(const QMatrix& q, PlaceOf place, Value value) {
  ASSERT_TRUE(check_qmatrix(q).ok()) << check_qmatrix(q).text();
  const Matrix w = dequantize(q);
  for (int64_t r = 0; r < kRows; ++r) {
    float part[kCols];
    dequantize_part(q, r, 5, 29, part);
    for (int64_t c = 0; c < kCols; ++c) {
      const size_t at = static_cast<size_t>(place(r, c));
      const float expected = value(q.codes[static_cast<size_t>(r * kCols + c)], q.scales[at]);
      EXPECT_EQ(w.row(r)[c], expected) << r << ' ' << c;
      if (c >= 5 && c < 29) {
        EXPECT_EQ(part[c - 5], expected) << r << ' ' << c;
      }
    }
  }
}

TEST(Dequantize, FloatZeroPointsOfRows) {
  Scheme s = {CodeKind::kInt, 3, 16, false};
  s.float_zero = true;
  expect_values(
      sample(s), [](int64_t r, int64_t c) { return r * 2 + c / 16; },
      [](int code, float scale) { return (static_cast<float>(code) - scale) * scale; });
}

TEST(Dequantize, BlocksThatCrossRows) {
  Scheme s = {CodeKind::kNf4, 4, 40};
  s.grouping = Grouping::kFlat;
  const std::vector<float>& table = codebook(CodeKind::kNf4);
  expect_values(
      sample(s), [](int64_t r, int64_t c) { return (r * kCols + c) / 40; },
      [&](int code, float scale) { return table[static_cast<size_t>(code)] * scale; });
}

TEST(Dequantize, StridedGroups) {
  Scheme s = {CodeKind::kInt, 4, 3, false};
  s.float_zero = true;
  s.grouping = Grouping::kStrided;
  expect_values(
      sample(s), [](int64_t r, int64_t c) { return (r * kCols + c) % (kRows * kCols / 3); },
      [](int code, float scale) { return (static_cast<float>(code) - scale) * scale; });
}

TEST(Dequantize, Tiles) {
  Scheme s = {CodeKind::kFp8, 8, 5};
  s.grouping = Grouping::kTile;
  const std::vector<float>& table = codebook(CodeKind::kFp8);
  expect_values(
      sample(s), [](int64_t r, int64_t c) { return r / 5 * 7 + c / 5; },
      [&](int code, float scale) { return table[static_cast<size_t>(code)] * scale; });
}

TEST(Dequantize, PartsOf127) {
  expect_values(
      sample({CodeKind::kLlmInt8, 8, kGroupRow}), [](int64_t r, int64_t) { return r; },
      [](int code, float scale) { return static_cast<float>(code - 128) * scale / 127; });
}

TEST(Dequantize, NestedScalesAreWhatTheirPartsSay) {
  Scheme s = {CodeKind::kNf4, 4, 32};
  s.grouping = Grouping::kFlat;
  s.nested = 4;
  QMatrix q = sample(s);
  q.nested = {{0, 255, 128, 7, 9, 200}, {2.0f, 3.0f}, dynamic_map(), 0.25f};
  q.scales = nested_scales(q.nested, 4);
  EXPECT_EQ(q.scales[1], 2.25f);
  EXPECT_TRUE(check_qmatrix(q).ok());
  const std::string hash = hash_qmatrix(q);
  q.scales[5] += 0.5f;
  EXPECT_FALSE(check_qmatrix(q).ok());
  EXPECT_NE(hash_qmatrix(q), hash);
}

// Any bytes with finite scales are blocks: unpacked and packed they are the same, and parts decode like the whole.
TEST(Dequantize, GgufBlocks) {
  for (const BlockCode& block : block_codes()) {
    SCOPED_TRACE(block.name);
    QMatrix q;
    q.rows = 2;
    q.cols = 2 * block.elements;
    q.scheme = block_scheme(block);
    for (int i = 0; i < 4 * block.bytes; ++i) q.codes.push_back(static_cast<uint8_t>(i * 7919 % 251));
    for (int b = 0; b < 4; ++b) {
      uint8_t* at = q.codes.data() + b * block.bytes;
      write_f16(0.25f * static_cast<float>(b + 1), at + block.d_at);
      if (block.dmin_at >= 0) write_f16(0.125f * static_cast<float>(b + 1), at + block.dmin_at);
      BlockFields fields;
      block.unpack(at, &fields);
      std::vector<uint8_t> again(static_cast<size_t>(block.bytes), 0xAA);
      block.pack(fields, again.data());
      EXPECT_TRUE(std::equal(again.begin(), again.end(), at));
    }
    ASSERT_TRUE(check_qmatrix(q).ok()) << check_qmatrix(q).text();
    const Matrix w = dequantize(q);
    std::vector<float> part(static_cast<size_t>(block.elements));
    dequantize_part(q, 1, 3, 3 + block.elements, part.data());
    for (int64_t c = 0; c < block.elements; ++c) EXPECT_EQ(part[static_cast<size_t>(c)], w.row(1)[3 + c]);
    QMatrix bad = q;
    write_f16(HUGE_VALF, bad.codes.data() + 3 * block.bytes + block.d_at);
    EXPECT_NE(check_qmatrix(bad).text().find("scale of block 3"), std::string::npos);
    q.codes.pop_back();
    EXPECT_FALSE(check_qmatrix(q).ok());
  }
}

}  // namespace
}  // namespace qz
