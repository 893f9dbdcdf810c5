#include "base/env.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/cpus.h"

namespace qz {
namespace {

TEST(Env, ReadsTheThreeVariables) {
  ::setenv("QZ_CPU", "ref", 1);
  ::unsetenv("QZ_BACKEND_DIR");
  ::setenv("QZ_LOG", "3", 1);
  const Environment e = read_environment();
  EXPECT_EQ(e.cpu, "ref");
  EXPECT_EQ(e.backend_dir, "");
  EXPECT_EQ(e.log, "3");
  ::unsetenv("QZ_CPU");
  ::unsetenv("QZ_LOG");
}

TEST(Cpus, IsAtLeastOneAndFollowsTheAffinityMask) {
  const uint32_t all = usable_cpus();
  ASSERT_GE(all, 1u);
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &before)) {
      CPU_SET(i, &one);
      break;
    }
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_cpus(), 1u);
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(usable_cpus(), all);
}

}  // namespace
}  // namespace qz
