// Rounding within the range of least error against rounding from minimum to maximum.
#include "method/mse.h"

#include "method/list.h"
#include "unit/method/problem.h"

namespace qz {
namespace {

double squared_error(const Matrix& w, const QMatrix& q) {
  const Matrix back = dequantize(q);
  double sum = 0;
  for (int64_t i = 0; i < w.rows() * w.cols(); ++i)
    sum += std::pow(static_cast<double>(w.data()[i]) - static_cast<double>(back.data()[i]), 2);
  return sum;
}

Scheme scheme(int32_t bits, int32_t group, bool symmetric) {
  return {CodeKind::kInt, bits, group, symmetric, DType::kF16};
}

TEST(Mse, IsCloserThanMinimumToMaximum) {
  const Matrix w = random_matrix(33, 256, 5);
  for (const int32_t bits : {2, 3, 4, 8})
    for (const bool symmetric : {true, false}) {
      const Scheme s = scheme(bits, 128, symmetric);
      const auto q = round_within_range(*make_context(1), w.view(), s, 0);
      ASSERT_TRUE(q.ok()) << q.status().text();
      ASSERT_TRUE(check_qmatrix(*q).ok()) << check_qmatrix(*q).text();
      const double ratio = squared_error(w, *q) / squared_error(w, *rtn(*make_context(1), w.view(), s, 0));
      EXPECT_LT(ratio, bits == 2 ? 0.65 : bits == 3 ? 0.8 : bits == 4 ? 0.92 : 1.01) << bits << " " << symmetric;
      EXPECT_EQ(hash_qmatrix(*round_within_range(*make_context(3), w.view(), s, 0)), hash_qmatrix(*q));
    }
}

TEST(Mse, KeepsWhatTheFormatAsksOfZeroPoints) {
  Matrix w = random_matrix(4, 64, 6);
  for (int64_t c = 0; c < 64; ++c) w.row(2)[c] = std::fabs(w.row(2)[c]), w.row(3)[c] = 0;
  const auto q = round_within_range(*make_context(1), w.view(), scheme(4, 32, false), 1);
  ASSERT_TRUE(q.ok()) << q.status().text();
  for (const uint8_t zero : q->zeros) EXPECT_GE(zero, 1);
  const Matrix back = dequantize(*q);
  for (int64_t c = 0; c < 64; ++c) EXPECT_EQ(back.row(3)[c], 0);
}

TEST(Mse, MakesIntegerGridsAlone) {
  EXPECT_TRUE(check_method(Method::kMse, scheme(3, 64, false)).ok());
  Scheme nf4 = scheme(4, 64, true);
  nf4.code = CodeKind::kNf4;
  const Status refused = check_method(Method::kMse, nf4);
  EXPECT_EQ(refused.code(), Code::kUnsupported);
  EXPECT_NE(refused.text().find("mse"), std::string::npos) << refused.text();
}

}  // namespace
}  // namespace qz
