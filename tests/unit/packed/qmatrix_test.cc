#include "packed/qmatrix.h"

#include <gtest/gtest.h>

#include <limits>

namespace qz {
namespace {

QMatrix sample() {
  QMatrix q;
  q.rows = 2;
  q.cols = 32;
  q.scheme = {CodeKind::kInt, 4, 16, false, DType::kF16};
  for (int i = 0; i < 64; ++i) q.codes.push_back(static_cast<uint8_t>(i * 7 % 16));
  q.scales = {0.5f, -0.25f, 2.0f, 1.0f};
  q.zeros = {8, 0, 15, 7};
  return q;
}

TEST(QMatrix, DequantizesByItsFormula) {
  const QMatrix q = sample();
  const Matrix w = dequantize(q);
  ASSERT_EQ(w.rows(), 2);
  ASSERT_EQ(w.cols(), 32);
  EXPECT_EQ(w.row(0)[1], 0.5f * (7 - 8));
  EXPECT_EQ(w.row(0)[16], -0.25f * (16 * 7 % 16 - 0));
  EXPECT_EQ(w.row(0)[17], -0.25f * (17 * 7 % 16 - 0));
  EXPECT_EQ(w.row(1)[5], 2.0f * ((32 + 5) * 7 % 16 - 15));
  EXPECT_EQ(w.row(1)[31], 1.0f * (63 * 7 % 16 - 7));
}

TEST(QMatrix, ShortLastGroup) {
  QMatrix q = sample();
  q.scheme.group = 24;  // 24 + 8 columns: still two groups
  const Matrix w = dequantize(q);
  EXPECT_EQ(w.row(0)[23], 0.5f * (23 * 7 % 16 - 8));
  EXPECT_EQ(w.row(0)[24], -0.25f * (24 * 7 % 16 - 0));
  EXPECT_EQ(w.row(0)[31], -0.25f * (31 * 7 % 16 - 0));
}

TEST(QMatrix, GroupIndexRowAndTensor) {
  QMatrix q = sample();
  for (int c = 0; c < 32; ++c) q.g_idx.push_back(c % 2);
  EXPECT_EQ(dequantize(q).row(1)[2], 2.0f * (34 * 7 % 16 - 15));
  EXPECT_EQ(dequantize(q).row(1)[3], 1.0f * (35 * 7 % 16 - 7));

  q.g_idx.clear();
  q.scheme.group = kGroupRow;
  q.scales = {0.5f, 2.0f};
  q.zeros = {8, 15};
  ASSERT_TRUE(check_qmatrix(q).ok());
  EXPECT_EQ(dequantize(q).row(1)[31], 2.0f * (63 * 7 % 16 - 15));

  q.scheme.group = kGroupTensor;
  q.scales = {3.0f};
  q.zeros = {4};
  ASSERT_TRUE(check_qmatrix(q).ok());
  EXPECT_EQ(dequantize(q).row(1)[31], 3.0f * (63 * 7 % 16 - 4));

  q.scheme.symmetric = true;
  q.zeros.clear();
  EXPECT_EQ(dequantize(q).row(1)[31], 3.0f * (63 * 7 % 16 - 8));
}

TEST(QMatrix, CheckFindsEveryContradiction) {
  EXPECT_TRUE(check_qmatrix(sample()).ok()) << check_qmatrix(sample()).text();
  auto broken = [](auto&& damage) {
    QMatrix q = sample();
    damage(&q);
    return check_qmatrix(q).code() == Code::kInvalidArgument;
  };
  EXPECT_TRUE(broken([](QMatrix* q) { q->rows = 0; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->cols = -1; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->rows = int64_t{1} << 62; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->codes.pop_back(); }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->codes[63] = 16; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->scales.push_back(1); }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->scales[2] = std::numeric_limits<float>::infinity(); }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->scales[2] = std::numeric_limits<float>::quiet_NaN(); }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->zeros.clear(); }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->zeros[3] = 16; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->scheme.symmetric = true; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->scheme.bits = 1; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->scheme.group = 0; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->g_idx = {0, 1}; }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->g_idx.assign(32, 2); }));
  EXPECT_TRUE(broken([](QMatrix* q) { q->g_idx.assign(32, -1); }));
}

TEST(QMatrix, HashIsThatOfTheBytes) {
  // Python: hashlib.sha256(b"libqz matrix 1\0" + struct.pack("<6q", 2, 32, 0, 4, 16, 0) + struct.pack("<q", 64) + codes
  //   + struct.pack("<q4f", 4, .5, -.25, 2, 1) + struct.pack("<q", 4) + bytes([8, 0, 15, 7]) + struct.pack("<q",
  //   0)).hexdigest()
  EXPECT_EQ(hash_qmatrix(sample()), "22a21b17df0c5fa8fce7a45b29633440efe1671f9a8a742cdc1750016ff63cad");
}

TEST(QMatrix, HashFollowsTheMatrixNotItsStorage) {
  const std::string hash = hash_qmatrix(sample());
  auto changed = [&](auto&& change) {
    QMatrix q = sample();
    change(&q);
    return hash_qmatrix(q) != hash;
  };
  EXPECT_TRUE(changed([](QMatrix* q) { q->codes[0] ^= 1; }));
  EXPECT_TRUE(changed([](QMatrix* q) { q->scales[3] = 1.5f; }));
  EXPECT_TRUE(changed([](QMatrix* q) { q->zeros[1] = 1; }));
  EXPECT_TRUE(changed([](QMatrix* q) { std::swap(q->rows, q->cols); }));
  EXPECT_TRUE(changed([](QMatrix* q) { q->scheme.bits = 8; }));
  EXPECT_TRUE(changed([](QMatrix* q) { q->g_idx.assign(32, 0); }));
  EXPECT_FALSE(changed([](QMatrix* q) { q->scheme.scale = DType::kBF16; }));
  EXPECT_FALSE(changed([](QMatrix* q) {
    for (int c = 0; c < 32; ++c) q->g_idx.push_back(c / 16);
  }));
}

}  // namespace
}  // namespace qz
