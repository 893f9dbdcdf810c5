#include "kernels/engines.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "kernels/gemm.h"

namespace qz {
namespace {

TEST(EnginesTest, TheReferenceIsLastAndAlwaysThere) {
  int count = 0;
  const Engine* all = engines(&count);
  ASSERT_GE(count, 1);
  EXPECT_STREQ(all[count - 1].name, "ref");
  EXPECT_TRUE(all[count - 1].available());
}

TEST(EnginesTest, ForcedByNameOrBestAgain) {
  int count = 0;
  const Engine* all = engines(&count);
  const Engine* best = nullptr;
  for (int e = 0; e < count; ++e) {
    std::printf("engine %s: %s\n", all[e].name, all[e].available() ? "tested" : "not on this processor");
    EXPECT_EQ(force_gemm_engine(all[e].name), all[e].available());
    if (!all[e].available()) continue;
    EXPECT_STREQ(gemm_engine(), all[e].name);
    if (!best) best = &all[e];
  }
  EXPECT_FALSE(force_gemm_engine("mmx"));
  EXPECT_TRUE(force_gemm_engine(""));
  EXPECT_STREQ(gemm_engine(), best->name);
}

}  // namespace
}  // namespace qz
