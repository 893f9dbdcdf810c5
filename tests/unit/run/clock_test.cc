#include "run/clock.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

namespace qz {
namespace {

void wait(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }
double of(const RunSeconds& seconds, Phase phase) { return seconds.phases[static_cast<size_t>(phase)]; }

TEST(Clock, WhatBeginsInsideInterruptsWhatIsAround) {
  Clock clock;
  {
    const Clock::Timed around(&clock, Phase::kHessian);
    wait(10);
    {
      const Clock::Timed inside(&clock, Phase::kForward);
      wait(60);
    }
    wait(10);
  }
  wait(30);
  const RunSeconds seconds = clock.so_far();
  EXPECT_GE(of(seconds, Phase::kForward), 0.06);
  EXPECT_GE(of(seconds, Phase::kHessian), 0.02);
  EXPECT_EQ(of(seconds, Phase::kSolve), 0);
  const double parts = std::accumulate(seconds.phases.begin(), seconds.phases.end(), 0.0);
  EXPECT_GE(seconds.total, parts + 0.03);  // the last wait is nobody's
}

TEST(Clock, KnowsItsPhaseBeforeItEnds) {
  Clock clock;
  const Clock::Timed writing(&clock, Phase::kWrite);
  wait(20);
  EXPECT_GE(of(clock.so_far(), Phase::kWrite), 0.02);
}

TEST(Clock, MayBeMissing) { const Clock::Timed nothing(nullptr, Phase::kRead); }

}  // namespace
}  // namespace qz
