// The Cholesky factorization of GPTQ's Hessian and solves with it: cuSOLVER (cusolver.cc), or the host
// (tests/cuda/factor_host.cc).
#pragma once
#include "plan.h"
#include "runtime.h"

namespace qz::cuda {

// a = L L^T: the lower triangle of a [n][n], row by row, becomes L. What is above the diagonal has no meaning
// afterwards.
struct CholeskyArgs {
  float* a;
  int32_t* info;  // 0, or the number of the first column, from 1, whose pivot is not positive
  int32_t n;
};

// x = x (L L^T)^-1, row by row.
struct CholeskySolveArgs {
  const float* lower;  // [n][n]; nothing above the diagonal is read
  float* x;            // [m][n]
  int32_t n, m;
};

constexpr uint64_t cholesky_solve_workspace() { return kCounterBytes + aligned(sizeof(int32_t)); }

// What the others need is opened and made. Any thread, any number of times; so are the others called.
Outcome prepare_factor(int32_t device);
// Bytes of workspace that a factorization needs, kCounterBytes included, which stay as they are.
Outcome cholesky_workspace(int32_t device, int32_t n, uint64_t* bytes);
Outcome run_cholesky(const CholeskyArgs& args, int32_t device, void* stream, char* workspace);
Outcome run_cholesky_solve(const CholeskySolveArgs& args, int32_t device, void* stream, char* workspace);

}  // namespace qz::cuda
