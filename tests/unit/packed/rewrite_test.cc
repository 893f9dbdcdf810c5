#include "packed/rewrite.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace qz {
namespace {

QMatrix sample(Scheme s, int64_t cols = 128) {
  QMatrix q;
  q.rows = 4;
  q.cols = cols;
  q.scheme = s;
  for (int64_t i = 0; i < q.rows * cols; ++i) q.codes.push_back(static_cast<uint8_t>(i * 37 % (1 << s.bits)));
  const size_t scales = static_cast<size_t>(s.scale_count(q.rows, cols));
  for (size_t i = 0; i < scales; ++i) q.scales.push_back(0.125f * static_cast<float>(i + 1));
  for (size_t i = 0; i < scales && !s.symmetric; ++i) q.zeros.push_back(static_cast<uint8_t>(i % (1u << s.bits)));
  return q;
}

bool same_numbers(const QMatrix& a, const QMatrix& b) {
  const Matrix x = dequantize(a), y = dequantize(b);
  return std::equal(x.data(), x.data() + x.rows() * x.cols(), y.data());
}

// Every rewriting that succeeds has the same numbers, is well formed, and leads back.
TEST(Rewrite, NumbersStayAsTheyAre) {
  for (const char* name : {"w4g64", "w4g64a", "w4g32", "w8", "w8g32", "w3row", "w4tensor", "w2g128a", "w8tensora"}) {
    const QMatrix q = sample(*scheme_preset(name));
    size_t found = 0;
    for (const Scheme& to : rewritings(q.scheme, q.cols)) {
      Result<QMatrix> out = rewrite(q, to);
      if (!out.ok()) continue;
      ++found;
      const std::string label = std::string(name) + " to " + scheme_name(to);
      EXPECT_TRUE(check_qmatrix(*out).ok()) << label << ": " << check_qmatrix(*out).text();
      EXPECT_TRUE(same_numbers(q, *out)) << label;
      if (to.group != q.scheme.group) continue;  // what scales were shared is forgotten
      Result<QMatrix> back = rewrite(*out, q.scheme);
      ASSERT_TRUE(back.ok()) << label << ": " << back.status().text();
      EXPECT_EQ(hash_qmatrix(*back), hash_qmatrix(q)) << label;
    }
    EXPECT_GE(found, 3u) << name;
  }
}

TEST(Rewrite, BlocksAreIntegersInGroupsOf32) {
  for (const auto& [grid, block] : {std::pair{"w4g32", "q4_0"}, std::pair{"w8g32", "q8_0"}}) {
    const QMatrix q = sample(*scheme_preset(grid));
    Result<QMatrix> packed = rewrite(q, *scheme_preset(block));
    ASSERT_TRUE(packed.ok()) << packed.status().text();
    EXPECT_TRUE(same_numbers(q, *packed));
    Result<QMatrix> back = rewrite(*packed, q.scheme);
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(hash_qmatrix(*back), hash_qmatrix(q));
    QMatrix fine = q;
    fine.scales[3] = 1.0f / 3;  // not a half
    EXPECT_EQ(rewrite(fine, *scheme_preset(block)).status().code(), Code::kUnsupported);
  }
}

TEST(Rewrite, WhatWouldChangeIsRefused) {
  const auto refused = [](const QMatrix& q, const char* to) {
    Result<QMatrix> out = rewrite(q, *scheme_preset(to));
    return out.ok() ? std::string() : out.status().text();
  };
  const QMatrix a = sample(*scheme_preset("w4g64a"));
  EXPECT_NE(refused(a, "w4g64").find("zero points are not all in the middle"), std::string::npos);
  EXPECT_NE(refused(a, "w4g128a").find("share scales"), std::string::npos);
  EXPECT_NE(refused(a, "w8g64a").find("other numbers"), std::string::npos);
  EXPECT_NE(refused(a, "nf4").find("other numbers"), std::string::npos);
  EXPECT_NE(refused(sample(*scheme_preset("w8a8")), "w8").find("inputs"), std::string::npos);
  QMatrix half = sample(*scheme_preset("w4g64"));
  half.scheme = *scheme_preset("w4g64f");
  half.float_zeros.assign(half.scales.size(), 7.5f);
  EXPECT_NE(refused(half, "w4g64a").find("no integers"), std::string::npos);
  QMatrix order = sample(*scheme_preset("w4g64"));
  for (int32_t c = 0; c < 128; ++c) order.g_idx.push_back(c % 2);
  EXPECT_NE(refused(order, "w4g32").find("g_idx"), std::string::npos);
  EXPECT_TRUE(rewrite(order, *scheme_preset("w4g64a")).ok());
}

// A power of two times 127 keeps its bits; a third does not.
TEST(Rewrite, PartsOf127AreCompared) {
  QMatrix q = sample({CodeKind::kLlmInt8, 8, kGroupRow});
  q.scales.assign(4, 127.0f);
  Result<QMatrix> rows = rewrite(q, *scheme_preset("w8"));
  ASSERT_TRUE(rows.ok()) << rows.status().text();
  EXPECT_EQ(rows->scales[0], 1.0f);
  q.scales.assign(4, 0.1f);
  EXPECT_EQ(rewrite(q, *scheme_preset("w8")).status().code(), Code::kUnsupported);
}

}  // namespace
}  // namespace qz
