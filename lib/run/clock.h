// Where a run's time goes. One phase counts at a time: what begins inside another interrupts it.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>

namespace qz {

// read: weights from the files (and writing, where both happen at once); forward: activations; gradients: the output
// metric, with its own forward; hessian: sums over the activations, of the drift's too; solve: from weight to codes,
// judged; write: encoding and files.
enum class Phase : size_t { kRead, kForward, kGradients, kHessian, kSolve, kWrite };
constexpr std::array kPhaseNames = {"read", "forward", "gradients", "hessian", "solve", "write"};

struct RunSeconds {
  std::array<double, kPhaseNames.size()> phases{};
  double total = 0;
  double cpu = 0;  // of the whole process, all threads
};

class Clock {
 public:
  Clock();
  // Until the end of the scope the time is this phase's; null: nobody counts.
  class Timed {
   public:
    Timed(Clock* clock, Phase phase);
    ~Timed();
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;

   private:
    Clock* const clock_;
    size_t before_ = 0;
  };
  RunSeconds so_far();

 private:
  void lap();

  std::chrono::steady_clock::time_point start_, last_;
  double cpu_start_;
  size_t open_ = kPhaseNames.size();  // none
  RunSeconds seconds_;
};

}  // namespace qz
