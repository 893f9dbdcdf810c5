// Parts of GPTQ on the emulated GPU (lib/method/device_*.h) beside the CPU's.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../backend/cholesky.h"
#include "method/cholesky.h"
#include "method/device_solver.h"
#include "tensor/convert.h"

namespace qz::cuda {
namespace {

struct Gpu {
  std::shared_ptr<const Backend> backend;
  qz_device device;
};

Gpu gpu() {
  const auto backend = Backend::open(QZ_EMULATED_PLUGIN, {});
  EXPECT_TRUE(backend.ok()) << backend.status().text();
  return {*backend, (*backend)->devices()[0].device};
}

// Multiples of 1/8: exact in bfloat16, and so are the sums.
Matrix inputs(int64_t rows, int64_t cols) {
  std::mt19937 random(static_cast<uint32_t>(rows));
  Matrix x(rows, cols);
  for (int64_t i = 0; i < rows * cols; ++i)
    x.data()[i] = static_cast<float>(static_cast<int32_t>(random() % 33) - 16) / 8;
  return x;
}

TEST(DeviceSolverTest, AddsAnyNumberOfRowsUpToTheMost) {
  constexpr int64_t kMost = 40, kCols = 21;
  const ContextPtr context = make_context(1);
  const Gpu g = gpu();
  auto there = DeviceHessian::make(g.backend, g.device, kCols, kMost);
  ASSERT_TRUE(there.ok()) << there.status().text();
  std::vector<double> want(static_cast<size_t>(kCols * kCols));
  for (const int64_t rows : {kMost, int64_t{3}, int64_t{1}, kMost, int64_t{39}}) {
    const Matrix x = inputs(rows, kCols);
    ASSERT_TRUE((*there)->add(*context, x.view()).ok());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < kCols; ++i)
        for (int64_t j = 0; j < kCols; ++j)
          want[static_cast<size_t>(i * kCols + j)] += double{x.row(r)[i]} * double{x.row(r)[j]};
  }
  Matrix h(kCols, kCols);
  ASSERT_TRUE((*there)->get(&h).ok());
  for (int64_t i = 0; i < kCols; ++i)
    for (int64_t j = 0; j <= i; ++j) EXPECT_EQ(double{h.row(i)[j]}, want[static_cast<size_t>(i * kCols + j)]);
}

// A product that the backend takes by its shape, and then has no kernel for.
TEST(DeviceSolverTest, WhatIsRefusedWhenItRunsIsTheCpus) {
  const Gpu g = gpu();
  std::vector<std::string> events;
  DeviceSolver solver(g.backend, g.device, [&](std::string event) { events.push_back(std::move(event)); });
  ASSERT_EQ(setenv("QZ_TEST_NO_KERNEL", "1", 1), 0);
  const auto refused = solver.hessian(16, 8);
  ASSERT_EQ(unsetenv("QZ_TEST_NO_KERNEL"), 0);
  ASSERT_TRUE(refused.ok()) << refused.status().text();
  EXPECT_EQ(*refused, nullptr);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(events[0].find("Hessians on the CPU instead of cuda, device 0: "), std::string::npos) << events[0];
  EXPECT_NE(events[0].find("cuBLASLt has no kernel"), std::string::npos) << events[0];
  EXPECT_NE(solver.summary().find("0 of 1 Hessians"), std::string::npos) << solver.summary();
}

// A factorization whose workspace the library cannot say: it is not run with none.
TEST(DeviceSolverTest, AFactorizationOfUnknownSizeIsTheCpus) {
  const Gpu g = gpu();
  std::vector<std::string> events;
  DeviceSolver solver(g.backend, g.device, [&](std::string event) { events.push_back(std::move(event)); });
  const check::Square square(9, 3);
  std::vector<float> a = square.a;
  ASSERT_EQ(setenv("QZ_TEST_NO_FACTOR_SIZE", "1", 1), 0);
  const auto refused = solver.cholesky(9, a.data());
  ASSERT_EQ(unsetenv("QZ_TEST_NO_FACTOR_SIZE"), 0);
  ASSERT_TRUE(refused.ok()) << refused.status().text();
  EXPECT_FALSE(refused->has_value());
  EXPECT_EQ(std::memcmp(a.data(), square.a.data(), a.size() * sizeof(float)), 0);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(events[0].find("factorizations on the CPU instead of cuda, device 0: "), std::string::npos) << events[0];
  EXPECT_NE(events[0].find("cuSOLVER, size of a factorization: status 3"), std::string::npos) << events[0];
}

// A library that says 0 while its factor has an infinity: the emulated one, which looks at signs only.
TEST(DeviceSolverTest, AFactorThatIsNotFiniteEndsAtTheColumnOfTheCpus) {
  const ContextPtr context = make_context(1);
  const Gpu g = gpu();
  for (const int64_t n : {1, 5, 70}) {
    const check::Square square(n, 7);
    for (const int64_t bad : {int64_t{0}, n / 2, n - 1}) {
      for (const float pivot : {std::numeric_limits<float>::infinity(), NAN, -1.0f, 0.25f}) {
        std::vector<float> a = square.a;
        if (pivot == 0.25f)
          square.at(&a, bad, bad) += pivot;  // a good one
        else
          square.at(&a, bad, bad) = pivot;
        std::vector<float> b = a;
        const auto want = cholesky(*context, n, a.data());
        const auto found = cholesky_on(*g.backend, g.device, n, b.data());
        ASSERT_TRUE(want.ok() && found.ok()) << found.status().text();
        EXPECT_EQ(*found, *want) << n << ", " << bad << ", " << pivot;
      }
    }
  }
}

}  // namespace
}  // namespace qz::cuda
