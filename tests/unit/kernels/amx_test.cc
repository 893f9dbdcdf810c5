#if defined(__x86_64__)  // other processors have no such engine to choose
#include "kernels/amx.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "kernels/engines.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

// The system's own list of what the processor has.
bool listed(const char* feature) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) == 0) return (line + ' ').find(' ' + std::string(feature) + ' ') != std::string::npos;
  }
  return false;
}

TEST(AmxTest, ThereOrWhyNotInWords) {
  const char* missing = amx_missing();
  std::printf("AMX: %s\n", missing ? missing : "tested");
  if (missing) {
    EXPECT_GT(std::strlen(missing), 20u);
  }
  if (!listed("amx_tile") || !listed("amx_bf16") || !listed("amx_int8")) {
    EXPECT_TRUE(missing) << "the system lists no such processor";
  } else if (missing) {
    EXPECT_TRUE(std::strstr(missing, "refused")) << missing;
  }
  EXPECT_EQ(missing, amx_missing()) << "asked once";
}

TEST(AmxTest, TheChoiceSaysWhyNot) {
  const char* missing = amx_missing();
  if (!missing) GTEST_SKIP() << "this processor has tiles";
  EXPECT_NE(engine_choice().find(missing), std::string::npos) << engine_choice();
}

TEST(AmxTest, TilesAreZeroAndOfFullSize) {
  if (!has_amx()) GTEST_SKIP() << amx_missing();
  for (int turn = 0; turn < 2; ++turn) {  // the second time after a release
    uint8_t ones[kAmxRows * kAmxRowBytes], stored[kAmxRows * kAmxRowBytes];
    std::memset(ones, 1, sizeof ones);
    std::memset(stored, 77, sizeof stored);
    {
      const AmxTiles tiles;
      __asm__ volatile("tilestored %%tmm7, (%0,%1,1)" : : "r"(stored), "r"(kAmxRowBytes) : "memory");
      for (const uint8_t byte : stored) ASSERT_EQ(byte, 0);
      __asm__ volatile("tileloadd (%0,%1,1), %%tmm7" : : "r"(ones), "r"(kAmxRowBytes) : "memory");
      __asm__ volatile("tilestored %%tmm7, (%0,%1,1)" : : "r"(stored), "r"(kAmxRowBytes) : "memory");
      for (const uint8_t byte : stored) ASSERT_EQ(byte, 1);
    }
  }
}

}  // namespace
}  // namespace qz
#endif
