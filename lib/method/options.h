// Every lever of the solver, with no zero meaning "default" any more: lib/run fills in what docs/accuracy.md measured.
#pragma once
#include <cstdint>

#include "packed/scheme.h"

namespace qz {

enum class Order : int32_t { kNone = 1, kStatic = 2, kGidx = 3 };
enum class Method : int32_t { kDefault = 0, kKeep = 1, kRtn = 2, kGptq = 3, kHqq = 4, kMse = 5 };  // equals qz_method

constexpr double kChosen = -2;  // drift, residual: chosen per module on the held-out tokens

struct GptqOptions {
  int32_t block = 128;
  Order order = Order::kStatic;
  int32_t sweeps = 2;  // 0 = none
  bool search = true;  // range search weighted by diag(H) and the size of the weights; false: min-max
  bool signed_grid = true;
  bool refit = true;
  bool allow_rtn_fallback = false;
  int32_t metric = 24;         // sequences whose gradients make the output metric; 0 = identity (rows independent)
  double metric_ridge = 0.03;  // added to its diagonal, of its mean
  double damp = 0.05;
  double drift = kChosen;     // 0 = off
  double residual = kChosen;  // 0 = off

  bool two_streams() const { return drift != 0 || residual != 0; }
};

struct HqqOptions {
  int32_t iterations = 20;  // of each group at most; 0: minimum and maximum
  bool search = true;       // also tries smaller scales and keeps what leaves the least squared error
  double norm = 0.7, beta = 10,
         growth = 1.01;  // of the loss; of the proximal step; of beta from one iteration to the next
};

}  // namespace qz
