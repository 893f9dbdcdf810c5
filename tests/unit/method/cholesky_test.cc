#include "method/cholesky.h"

#include "unit/method/problem.h"

// LAPACK is the oracle. Column-major, 32-bit integers.
extern "C" {
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info, size_t);
void spotrs_(const char* uplo, const int* n, const int* nrhs, const float* a, const int* lda, float* b, const int* ldb,
             int* info, size_t);
}

namespace qz {
namespace {

// As a Hessian is: inputs of unlike size, correlated, damped.
Matrix definite(int64_t n, uint32_t seed) {
  const Matrix x = random_inputs(n + 8, n, seed);
  Matrix h = gram(x, x);
  double mean = 0;
  for (int64_t i = 0; i < n; i++) mean += static_cast<double>(h.row(i)[i]) / static_cast<double>(n);
  for (int64_t i = 0; i < n; i++) h.row(i)[i] += static_cast<float>(0.05 * mean);
  return h;
}

int lapack_factor(Matrix* a) {
  const int n = static_cast<int>(a->rows());
  int info = 0;
  spotrf_("U", &n, a->data(), &n, &info, 1);  // row-major lower is column-major upper
  return info;
}

// The largest difference of the lower triangles, relative to the row's diagonal.
double worst(const Matrix& a, const Matrix& b) {
  double most = 0;
  for (int64_t i = 0; i < a.rows(); i++) {
    double scale = 0;
    for (int64_t j = 0; j <= i; j++) scale = std::max(scale, std::fabs(static_cast<double>(b.row(i)[j])));
    for (int64_t j = 0; j <= i; j++)
      most = std::max(most, std::fabs(static_cast<double>(a.row(i)[j]) - static_cast<double>(b.row(i)[j])) / scale);
  }
  return most;
}

class Cholesky : public testing::TestWithParam<int64_t> {};

TEST_P(Cholesky, GivesWhatLapackGives) {
  const int64_t n = GetParam();
  const ContextPtr context = make_context(2);
  const Matrix h = definite(n, static_cast<uint32_t>(n));
  Matrix own = h, theirs = h;
  for (int64_t i = 0; i < n; i++)  // not to be read
    for (int64_t j = i + 1; j < n; j++) own.row(i)[j] = std::nanf("");
  const auto done = cholesky(*context, n, own.data());
  ASSERT_TRUE(done.ok()) << done.status().text();
  EXPECT_EQ(*done, n);
  ASSERT_EQ(lapack_factor(&theirs), 0);
  EXPECT_LT(worst(own, theirs), 1e-4) << n;

  const int64_t rows = 1 + n % 70;
  const Matrix b = random_matrix(rows, n, 7);
  Matrix x = b, want = b;
  ASSERT_TRUE(cholesky_solve(*context, n, theirs.data(), rows, x.data()).ok());
  const int size = static_cast<int>(n), count = static_cast<int>(rows);
  int info = 0;
  spotrs_("U", &size, &count, theirs.data(), &size, want.data(), &size, &info, 1);
  ASSERT_EQ(info, 0);
  double most = 0, scale = 0;
  for (int64_t i = 0; i < rows * n; i++) {
    scale = std::max(scale, std::fabs(static_cast<double>(want.data()[i])));
    most = std::max(most, std::fabs(static_cast<double>(x.data()[i]) - static_cast<double>(want.data()[i])));
  }
  EXPECT_LT(most, 2e-4 * scale) << n;
}

INSTANTIATE_TEST_SUITE_P(Sizes, Cholesky, testing::Range<int64_t>(1, 301));
INSTANTIATE_TEST_SUITE_P(Large, Cholesky, testing::Values(511, 512, 513, 1000));

TEST(Cholesky, SaysAtWhichColumnAMatrixIsNotDefinite) {
  const ContextPtr context = make_context(2);
  for (const int64_t n : {1, 2, 63, 64, 65, 128, 200, 300})
    for (const int64_t at : {int64_t{0}, n / 3, n / 2, n - 1})
      for (const float spoiled : {-1.0f, 0.0f, std::nanf("")}) {
        Matrix own = definite(n, static_cast<uint32_t>(n));
        own.row(at)[at] = spoiled;
        Matrix theirs = own;
        const auto done = cholesky(*context, n, own.data());
        ASSERT_TRUE(done.ok()) << done.status().text();
        EXPECT_EQ(*done, at) << n;
        if (std::isnan(spoiled)) continue;  // OpenBLAS lets it pass
        EXPECT_EQ(lapack_factor(&theirs), at + 1) << n;
      }
}

TEST(Cholesky, GivesTheSameBitsForAnyNumberOfThreads) {
  constexpr int64_t kSize = 700, kRows = 150;
  const Matrix h = definite(kSize, 3), b = random_matrix(kRows, kSize, 4);
  Matrix first, first_solved;
  for (const int threads : {1, 2, 3, 8}) {
    const ContextPtr context = make_context(threads);
    Matrix a = h, x = b;
    const auto done = cholesky(*context, kSize, a.data());
    ASSERT_TRUE(done.ok() && *done == kSize);
    ASSERT_TRUE(cholesky_solve(*context, kSize, a.data(), kRows, x.data()).ok());
    for (int64_t i = 0; i < kSize; i++) std::fill(a.row(i) + i + 1, a.row(i) + kSize, 0.0f);
    if (first.empty()) first = a, first_solved = x;
    EXPECT_TRUE(std::equal(a.data(), a.data() + kSize * kSize, first.data())) << threads;
    EXPECT_TRUE(std::equal(x.data(), x.data() + kRows * kSize, first_solved.data())) << threads;
  }
}

// A context for fast products must not make the factor coarse.
TEST(Cholesky, IsExactInAFastContext) {
  constexpr int64_t kSize = 320;
  const ContextPtr exact = make_context(1), fast = with_products(exact, Products::kFast);
  Matrix a = definite(kSize, 5), b = a;
  ASSERT_TRUE(cholesky(*exact, kSize, a.data()).ok() && cholesky(*fast, kSize, b.data()).ok());
  EXPECT_EQ(worst(b, a), 0);
}

}  // namespace
}  // namespace qz
