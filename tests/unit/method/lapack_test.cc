#include "method/lapack.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>
#include <vector>

namespace qz {
namespace {

// 2 on the diagonal, 1/(1 + |i - j|) beside it: positive definite.
std::vector<float> matrix(int64_t n) {
  std::vector<float> a(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      a[static_cast<size_t>(i * n + j)] = i == j ? 4.0f : 1.0f / static_cast<float>(1 + std::abs(i - j));
  return a;
}

TEST(Lapack, FactorsAndSolves) {
  std::vector<float> a = {4, 0, 2, 5}, b = {2, 3};  // L = [2 0; 1 2]
  ASSERT_TRUE(cholesky(2, a.data()));
  EXPECT_FLOAT_EQ(a[0], 2);
  EXPECT_FLOAT_EQ(a[2], 1);
  EXPECT_FLOAT_EQ(a[3], 2);
  ASSERT_TRUE(cholesky_solve(2, a.data(), 1, b.data()));  // [4 2; 2 5] x = (2, 3)
  EXPECT_FLOAT_EQ(b[0], 0.25f);
  EXPECT_FLOAT_EQ(b[1], 0.5f);
  std::vector<float> not_definite = {1, 0, 2, 1};
  EXPECT_FALSE(cholesky(2, not_definite.data()));
}

TEST(Lapack, ManyThreadsAtOnceGetTheirOwnResults) {
  constexpr int64_t kSize = 96;
  std::vector<float> want = matrix(kSize);
  ASSERT_TRUE(cholesky(kSize, want.data()));
  std::vector<std::thread> threads;
  std::vector<int> wrong(8);
  for (size_t t = 0; t < wrong.size(); t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; i++) {
        std::vector<float> a = matrix(kSize);
        if (!cholesky(kSize, a.data()) || a != want) wrong[t]++;
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const int count : wrong) EXPECT_EQ(count, 0);
}

}  // namespace
}  // namespace qz
