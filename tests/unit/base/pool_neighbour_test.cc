// The pool where others want the same processor: a spin without bound would burn a time slice of the scheduler (some
// milliseconds) for every region in which the thread that it waits for does not run. Counted is processor time, which
// does not depend on how busy the machine is.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "base/pool.h"

namespace qz {
namespace {

double seconds(clockid_t clock) {
  timespec t = {};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// This thread, and those that it starts, on one processor while this lives.
class OneCpu {
 public:
  OneCpu() {
    if (::sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
      if (CPU_ISSET(cpu, &before_)) CPU_SET(cpu, &one);
    good_ = ::sched_setaffinity(0, sizeof one, &one) == 0;
  }
  ~OneCpu() {
    if (good_) ::sched_setaffinity(0, sizeof before_, &before_);
  }
  bool good() const { return good_; }

 private:
  cpu_set_t before_ = {};
  bool good_ = false;
};

float value_of(uint32_t index) {
  float x = static_cast<float>(index);
  for (int i = 0; i < 20'000; ++i) x = x * 0.999f + 0.001f;
  return x;
}

constexpr uint32_t kTasks = 6;
constexpr int kRegions = 200;

// Regions of kTasks on a pool of its own, each task about 50 us. Returns the processor time of the tasks themselves.
double use_pool(std::atomic<int>* wrong) {
  const Pool pool(3);
  std::vector<float> expected(kTasks);
  for (uint32_t i = 0; i < kTasks; ++i) expected[i] = value_of(i);
  double inside[3] = {};
  for (int region = 0; region < kRegions; ++region) {
    std::vector<float> out(kTasks);
    const Status s = pool.run(kTasks, [&](uint32_t i, uint32_t worker) {
      const double start = seconds(CLOCK_THREAD_CPUTIME_ID);
      out[i] = value_of(i);
      inside[worker] += seconds(CLOCK_THREAD_CPUTIME_ID) - start;
      return Status();
    });
    if (!s.ok() || std::memcmp(out.data(), expected.data(), sizeof(float) * kTasks) != 0) ++*wrong;
  }
  return inside[0] + inside[1] + inside[2];
}

// Two workers and the caller spin for 20 us at most, and sleep and wake for a few: 3 * (20 + 10) us. A slice is 3,000.
constexpr double kMostPerRegion = 500e-6;

TEST(PoolNeighbour, BurnsNoTimeBesideABusyThread) {
  const OneCpu cpu;
  if (!cpu.good()) GTEST_SKIP() << "threads cannot be bound to a processor here";
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  double busy = 0;
  const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
  std::thread neighbour([&] {
    while (!stop) {
    }
    busy = seconds(CLOCK_THREAD_CPUTIME_ID);
  });
  const double inside = use_pool(&wrong);
  stop = true;
  neighbour.join();
  const double lost = seconds(CLOCK_PROCESS_CPUTIME_ID) - start - inside - busy;
  EXPECT_EQ(wrong, 0);
  EXPECT_LT(lost / kRegions, kMostPerRegion);
}

TEST(PoolNeighbour, BurnsNoTimeBesideASecondPool) {
  const OneCpu cpu;
  if (!cpu.good()) GTEST_SKIP() << "threads cannot be bound to a processor here";
  std::atomic<int> wrong{0};
  double others = 0;
  const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
  std::thread second([&] { others = use_pool(&wrong); });
  const double inside = use_pool(&wrong);
  second.join();
  const double lost = seconds(CLOCK_PROCESS_CPUTIME_ID) - start - inside - others;
  EXPECT_EQ(wrong, 0);
  EXPECT_LT(lost / (2 * kRegions), kMostPerRegion);
}

}  // namespace
}  // namespace qz
