// cuda/cusolver.cc with a library of the test's own (fake_cusolver.c), found as cuSOLVER is: by the loader. What is
// there is said by QZ_TEST_CUSOLVER: "all", "lacks" a function, or "none".
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <random>
#include <thread>
#include <vector>

#include "cusolver_values.h"
#include "factor.h"

#if __has_include(<cublas_api.h>)
#include <cublas_api.h>
#endif

namespace qz::cuda {

// The runtime of a machine without a GPU.
namespace {
std::atomic<int> synchronized = 0;
std::function<void(int32_t device)> while_waiting;
}  // namespace
OnDevice::OnDevice(int32_t device) {
  if (device == 7) outcome_ = {QZ_STATUS_DEVICE, "there is no GPU 7"};
}
OnDevice::~OnDevice() = default;
Outcome synchronize(int32_t device, void*) {
  ++synchronized;
  if (while_waiting) while_waiting(device);
  return {};
}

namespace {

struct LastCall {
  void *stream, *device_buffer, *host_buffer;
  int creates;
};

const LastCall& last() {
  void* file = dlopen("libcusolver.so.12", RTLD_NOW | RTLD_NOLOAD);
  const auto f = reinterpret_cast<const LastCall* (*)()>(dlsym(file, "fake_cusolver_last"));
  return *f();
}

bool is(const char* kind) {
  const char* there = std::getenv("QZ_TEST_CUSOLVER");
  return there && std::strcmp(there, kind) == 0;
}

// Positive definite, n x n; above the diagonal NaN: nothing there may be read.
std::vector<float> matrix(int32_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> g(static_cast<size_t>(n * n)), a(g.size(), NAN);
  for (float& v : g) v = normal(random);
  for (int32_t i = 0; i < n; ++i)
    for (int32_t j = 0; j <= i; ++j) {
      float sum = i == j ? 0.5f : 0;
      for (int32_t k = 0; k < n; ++k) sum += g[static_cast<size_t>(i * n + k)] * g[static_cast<size_t>(j * n + k)];
      a[static_cast<size_t>(i * n + j)] = sum;
    }
  return a;
}

// Row i of L L^T against a.
void expect_factor(const std::vector<float>& a, const std::vector<float>& l, int32_t n) {
  for (int32_t i = 0; i < n; ++i)
    for (int32_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int32_t k = 0; k <= j; ++k)
        sum += double{l[static_cast<size_t>(i * n + k)]} * double{l[static_cast<size_t>(j * n + k)]};
      ASSERT_NEAR(sum, double{a[static_cast<size_t>(i * n + j)]}, 1e-4 * n) << i << ", " << j;
    }
}

TEST(CusolverTest, FactorsRowByRowInTheCallersStreamAndWorkspace) {
  if (!is("all")) GTEST_SKIP();
  int stream = 0;
  for (const int32_t n : {1, 2, 33}) {
    const std::vector<float> a = matrix(n, static_cast<uint32_t>(n));
    std::vector<float> l = a;
    uint64_t bytes = 0;
    ASSERT_TRUE(cholesky_workspace(0, n, &bytes).ok());
    EXPECT_EQ(bytes, kCounterBytes + 1024);
    std::vector<char> workspace(bytes, 'w');
    int32_t info = -1;
    synchronized = 0;
    const Outcome done = run_cholesky({l.data(), &info, n}, 0, &stream, workspace.data());
    ASSERT_TRUE(done.ok()) << done.words;
    EXPECT_EQ(info, 0);
    expect_factor(a, l, n);
    EXPECT_EQ(last().stream, &stream);
    EXPECT_EQ(last().device_buffer, workspace.data() + kCounterBytes);
    EXPECT_EQ(synchronized, 1);  // its scratch on the host is free again
    EXPECT_EQ(std::vector<char>(workspace.begin(), workspace.begin() + kCounterBytes),
              std::vector<char>(kCounterBytes, 'w'));
    for (int32_t i = 0; i < n; ++i)
      for (int32_t j = i + 1; j < n; ++j) EXPECT_TRUE(std::isnan(l[static_cast<size_t>(i * n + j)]));

    constexpr int32_t kRows = 3;
    std::vector<float> x(static_cast<size_t>(kRows * n)), y = x;
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
    for (int32_t r = 0; r < kRows; ++r)
      for (int32_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int32_t k = 0; k < n; ++k)
          sum +=
              double{x[static_cast<size_t>(r * n + k)]} * double{a[static_cast<size_t>(k > j ? k * n + j : j * n + k)]};
        y[static_cast<size_t>(r * n + j)] = static_cast<float>(sum);
      }
    workspace.assign(cholesky_solve_workspace(), 'w');
    ASSERT_TRUE(run_cholesky_solve({l.data(), y.data(), n, kRows}, 0, &stream, workspace.data()).ok());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], x[i], 2e-3) << n << ", " << i;
    EXPECT_EQ(workspace[kCounterBytes - 1], 'w');
  }
  EXPECT_EQ(last().creates, 1);  // one handle for all of them
}

TEST(CusolverTest, NamesTheFirstPivotThatIsNotPositive) {
  if (!is("all")) GTEST_SKIP();
  constexpr int32_t kN = 5;
  std::vector<float> a = matrix(kN, 1);
  a[3 * kN + 3] = -1;
  uint64_t bytes = 0;
  ASSERT_TRUE(cholesky_workspace(0, kN, &bytes).ok());
  std::vector<char> workspace(bytes);
  int32_t info = -1;
  ASSERT_TRUE(run_cholesky({a.data(), &info, kN}, 0, nullptr, workspace.data()).ok());
  EXPECT_EQ(info, 4);
}

// One device that waits for its factorization holds up no other.
TEST(CusolverTest, DevicesDoNotWaitForEachOther) {
  if (!is("all")) GTEST_SKIP();
  constexpr int32_t kN = 3;
  const auto factor = [](int32_t device) {
    std::vector<float> a = matrix(kN, 1);
    std::vector<char> workspace(kCounterBytes + 1024);
    int32_t info = -1;
    return run_cholesky({a.data(), &info, kN}, device, nullptr, workspace.data()).ok() && info == 0;
  };
  bool other = false;
  std::thread second;
  while_waiting = [&](int32_t device) {
    if (device != 1) return;
    std::promise<bool> done;
    std::future<bool> when = done.get_future();
    second = std::thread([&factor, done = std::move(done)]() mutable { done.set_value(factor(2)); });
    other = when.wait_for(std::chrono::seconds(20)) == std::future_status::ready && when.get();
  };
  EXPECT_TRUE(factor(1));
  second.join();
  while_waiting = nullptr;
  EXPECT_TRUE(other);
}

TEST(CusolverTest, WhatFailsIsTold) {
  if (!is("all")) GTEST_SKIP();
  uint64_t bytes = 0;
  const Outcome wrong = cholesky_workspace(0, 0, &bytes);  // the library's own refusal
  EXPECT_EQ(wrong.status, QZ_STATUS_DEVICE);
  EXPECT_EQ(wrong.words, "cuSOLVER, size of a factorization: status 3");
  EXPECT_EQ(prepare_factor(7).words, "there is no GPU 7");
}

TEST(CusolverTest, AMissingLibraryIsNamed) {
  if (!is("none")) GTEST_SKIP();
  for (const char* name : {"libcusolver.so.12", "libcusolver.so.11"})
    if (dlopen(name, RTLD_LAZY)) GTEST_SKIP() << name << " is on this machine";
  const Outcome none = prepare_factor(0);
  EXPECT_EQ(none.status, QZ_STATUS_DEVICE);
  EXPECT_EQ(none.words.find("this needs cuSOLVER, but libcusolver.so.12 cannot be opened: "), 0u) << none.words;
  EXPECT_NE(none.words.find(".so.1"), none.words.rfind(".so.1")) << "which one the loader misses: " << none.words;
  EXPECT_NE(none.words.find(": cannot open shared object file"), std::string::npos) << none.words;
  EXPECT_EQ(none.words.find('\n'), std::string::npos);
  uint64_t bytes = 0;
  EXPECT_EQ(cholesky_workspace(0, 8, &bytes).words, none.words);
}

TEST(CusolverTest, AnOlderLibraryIsNotUsed) {
  if (!is("lacks")) GTEST_SKIP();
  const Outcome older = prepare_factor(0);
  EXPECT_EQ(older.status, QZ_STATUS_DEVICE);
  EXPECT_NE(older.words.find("lacks a function"), std::string::npos) << older.words;
}

TEST(CusolverTest, ValuesAreThoseOfTheHeader) {
#ifdef CUBLAS_VER_MAJOR
  EXPECT_EQ(solver::kUpper, CUBLAS_FILL_MODE_UPPER);
  EXPECT_EQ(solver::kF32, CUDA_R_32F);
#else
  GTEST_SKIP() << "no cublas_api.h on this machine";
#endif
}

}  // namespace
}  // namespace qz::cuda
