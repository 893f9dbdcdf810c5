// The LAPACK that the solver needs, on row-major matrices: OpenBLAS, one thread, one call at a time. Debian's build for
// one thread takes its work memory without a lock, so two calls at once, even from two contexts, may be given the same
// memory and spoil each other's results.
#pragma once
#include <cstdint>

namespace qz {

// a = L L^T, [n][n], lower triangle in and out; the upper one is left alone. false: not positive definite.
bool cholesky(int64_t n, float* a);
// The rows of b [rows][n] become solutions of L L^T x = b.
bool cholesky_solve(int64_t n, const float* lower, int64_t rows, float* b);

}  // namespace qz
