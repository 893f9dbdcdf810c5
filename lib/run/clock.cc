#include "run/clock.h"

#include <time.h>

namespace qz {
namespace {

using std::chrono::steady_clock;

double seconds(steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

double process_cpu() {
  timespec t{};
  return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0
             ? static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9
             : 0;
}

}  // namespace

Clock::Clock() : start_(steady_clock::now()), last_(start_), cpu_start_(process_cpu()) {}

void Clock::lap() {
  const auto now = steady_clock::now();
  if (open_ < kPhaseNames.size()) seconds_.phases[open_] += seconds(now - last_);
  last_ = now;
}

RunSeconds Clock::so_far() {
  lap();
  seconds_.total = seconds(last_ - start_);
  seconds_.cpu = process_cpu() - cpu_start_;
  return seconds_;
}

Clock::Timed::Timed(Clock* clock, Phase phase) : clock_(clock) {
  if (!clock_) return;
  clock_->lap();
  before_ = clock_->open_;
  clock_->open_ = static_cast<size_t>(phase);
}

Clock::Timed::~Timed() {
  if (!clock_) return;
  clock_->lap();
  clock_->open_ = before_;
}

}  // namespace qz
