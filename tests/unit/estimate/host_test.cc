#include "estimate/host.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>

namespace qz {
namespace {

TEST(Host, MemoryIsWithinTheMachines) {
  const HostMemory m = read_host_memory();
  const auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  EXPECT_GT(m.total, 64u << 20);
  EXPECT_LE(m.total, pages + (pages >> 6));
  EXPECT_LE(m.free, m.total);
  EXPECT_EQ(m.limit == 0, m.limited_by.empty());
}

TEST(Host, UsageIsWhatTheSystemSays) {
  auto block = std::make_unique<std::vector<char>>(64u << 20, 1);
  const MemoryUsage with = read_memory_usage();
  EXPECT_GT(with.resident, 64u << 20);
  rusage usage = {};
  ASSERT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  const auto peak = static_cast<double>(usage.ru_maxrss) * 1024;
  EXPECT_NEAR(static_cast<double>(with.resident_peak), peak, 0.05 * peak);
  block.reset();
  EXPECT_LT(read_memory_usage().resident, with.resident);
}

TEST(Host, BandwidthIsMeasured) {
  const auto measured = measure_bandwidth(*make_context(2));
  ASSERT_TRUE(measured.ok());
  EXPECT_GT(*measured, 100'000'000u);         // slower than a disk: wrong
  EXPECT_LT(*measured, 10'000'000'000'000u);  // faster than any host memory: nothing was read
}

}  // namespace
}  // namespace qz
