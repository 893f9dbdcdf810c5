// Runs a piece of a test with every engine this processor has, and puts the best one back.
#pragma once
#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <vector>

#include "kernels/engines.h"
#include "kernels/gemm.h"

namespace qz {

// Once in a process: what this processor lacks.
inline void print_skipped_engines() {
  static const bool printed = [] {
    int count = 0;
    const Engine* all = engines(&count);
    for (int e = 0; e < count; ++e) {
      if (!all[e].available()) std::printf("[  SKIPPED ] instruction set %s: needs %s\n", all[e].name, all[e].needs);
    }
    return true;
  }();
  (void)printed;
}

template <class Body>
void for_each_engine(const Body& body) {
  print_skipped_engines();
  int count = 0;
  const Engine* all = engines(&count);
  for (int e = 0; e < count; ++e) {
    if (!force_gemm_engine(all[e].name)) continue;
    SCOPED_TRACE(all[e].name);
    body();
  }
  force_gemm_engine("");
}

inline std::vector<float> normal(int64_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = distribution(random);
  return values;
}

}  // namespace qz
