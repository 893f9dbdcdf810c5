// Asynchronous instructions on the emulator: a kernel that waits as it must gives the product, one that leaves a wait
// out does not.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "probe.h"
#include "problem.h"

namespace qz::cuda {
namespace {

struct Operands {
  int32_t steps;
  DeviceArray a, b, out;
  std::vector<float> want;

  template <class Type>
  Operands(int32_t count, const Type*)
      : steps(count), a(bytes()), b(bytes()), out(64 * 64 * 4), want(static_cast<size_t>(64) * 64) {
    std::mt19937 random(7);
    const DType type = std::is_same_v<Type, Half> ? DType::kF16 : DType::kBF16;
    std::vector<float> x[2];
    for (int which = 0; which < 2; ++which) {
      for (int64_t i = 0; i < int64_t{64} * 64 * steps; ++i) x[which].push_back(static_cast<float>(random() % 17) - 8);
      from_f32(x[which].data(), type, int64_t{64} * 64 * steps, (which ? b : a).as<char>());
    }
    const size_t k = static_cast<size_t>(64) * static_cast<size_t>(steps);
    for (size_t i = 0; i < 64 * 64; ++i)
      for (size_t j = 0; j < k; ++j) want[i] += x[0][i / 64 * k + j] * x[1][i % 64 * k + j];
  }
  size_t bytes() const { return static_cast<size_t>(steps) * 64 * 64 * 2; }
};

// How many of `runs` gave the product, without a failure.
template <class Type, Probe kProbe, Omit kOmit>
int good_runs(int32_t steps, int runs) {
  const Operands o(steps, static_cast<const Type*>(nullptr));
  int good = 0;
  for (int i = 0; i < runs; ++i) {
    device().failure.clear();
    device().conflicts = 0;
    std::fill_n(o.out.as<float>(), 64 * 64, 0.0f);
    const ProbeArgs args = {o.a.as<uint16_t>(), o.b.as<uint16_t>(), o.out.as<float>(), steps};
    run_grid(1, kProbeThreads, kProbeBytes / 4, [&](HostOps& ops) { probe_body<Type, kProbe, kOmit>(args, ops); });
    good += device().failure.empty() && std::equal(o.want.begin(), o.want.end(), o.out.as<float>());
    EXPECT_EQ(device().conflicts, 0u);
  }
  device().failure.clear();
  return good;
}

template <Probe kProbe>
void check() {
  for (const int32_t steps : {1, 2, 3, 8}) {
    EXPECT_EQ((good_runs<Half, kProbe, Omit::kNothing>(steps, 3)), 3) << steps << " steps";
    EXPECT_EQ((good_runs<Brain, kProbe, Omit::kNothing>(steps, 3)), 3) << steps << " steps";
  }
  // Every single run shows it: no lucky order.
  EXPECT_EQ((good_runs<Half, kProbe, Omit::kWait>(8, 8)), 0) << "reads what has not arrived";
  EXPECT_EQ((good_runs<Half, kProbe, Omit::kSync>(8, 8)), 0) << "reads what others wait for";
  EXPECT_EQ((good_runs<Half, kProbe, Omit::kFree>(8, 8)), 0) << "fills what others still read";
}

TEST(AsyncTest, CopiesOf16Bytes) { check<Probe::kCopies>(); }
TEST(AsyncTest, BulkCopiesAndTheirBarriers) { check<Probe::kBulk>(); }
TEST(AsyncTest, ProductsOfAWarpgroup) { check<Probe::kWide>(); }

// Runs body on one warp and gives the words of the failure.
std::string words_of(const std::function<void(HostOps&)>& body) {
  device().failure.clear();
  run_grid(1, 32, 64, body);
  return std::exchange(device().failure, "");
}

TEST(AsyncTest, WhatMayNotBeIsTold) {
  const DeviceArray memory(64);
  const char* from = memory.as<char>();
  const auto copy = [&](int32_t to, int32_t at, int32_t bytes) {
    return words_of([=](HostOps& ops) {
      ops.copy_16(reinterpret_cast<char*>(ops.shared()) + to, from + at, bytes);
      ops.commit_copies();
      ops.wait_copies<0>();
    });
  };
  EXPECT_EQ(copy(0, 0, 16), "");
  EXPECT_EQ(copy(0, 64, 0), "") << "nothing is read";
  EXPECT_NE(copy(8, 0, 16), "") << "to an odd address";
  EXPECT_NE(copy(256, 0, 16), "") << "beside shared memory";
  EXPECT_NE(copy(0, 8, 16), "") << "from an odd address";
  EXPECT_NE(copy(0, 64, 2), "") << "beside device memory";
  EXPECT_NE(words_of([=](HostOps& ops) { ops.copy_16(ops.shared(), from, 16); }), "") << "ends before it arrives";
  const auto barrier = [](HostOps& ops) { return reinterpret_cast<uint64_t*>(ops.shared()); };
  EXPECT_NE(words_of([=](HostOps& ops) { ops.arrive(barrier(ops)); }), "") << "not initialized";
  EXPECT_NE(words_of([=](HostOps& ops) {
              if (ops.thread() == 0) ops.init_barrier(barrier(ops), 32);
              ops.arrive(barrier(ops));
            }),
            "")
      << "others cannot know it yet";
  EXPECT_NE(words_of([=](HostOps& ops) {
              if (ops.thread() == 0) ops.init_barrier(barrier(ops), 33);
              ops.sync();
              ops.arrive(barrier(ops));
              ops.wait_phase(barrier(ops), 0);
            }),
            "")
      << "one arrival is missing";
  EXPECT_NE(words_of([=](HostOps& ops) {
              uint32_t r[4];
              float c[4] = {};
              if (ops.thread() == 0) return ops.load_matrices(ops.shared(), r);
              ops.mma<Half>(c, r, {0, 0});
            }),
            "")
      << "a warp that is not one";
}

}  // namespace
}  // namespace qz::cuda
