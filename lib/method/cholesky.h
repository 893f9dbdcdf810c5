// The Cholesky factorization and its solves, on the pool and on this library's own products: the same bits for any
// number of threads.
#pragma once
#include <cstdint>

#include "base/context.h"

namespace qz {

// a: [n][n] row-major, lower triangle read and replaced by L with a = L L^T; what is above the diagonal is scratch.
// Returns how many leading columns could be factored: n, or less where the matrix is not positive definite; the rest is
// unspecified then.
Result<int64_t> cholesky(const Context& context, int64_t n, float* a, Progress* progress = nullptr);

// x (L L^T)^-1 in place; lower: [n][n], upper triangle not read; x: [rows][n].
Status cholesky_solve(const Context& context, int64_t n, const float* lower, int64_t rows, float* x,
                      Progress* progress = nullptr);

}  // namespace qz
