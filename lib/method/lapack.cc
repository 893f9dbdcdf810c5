#include "method/lapack.h"

#include <cstddef>
#include <mutex>

// Column-major, 32-bit integers.
extern "C" {
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info, size_t);
void spotrs_(const char* uplo, const int* n, const int* nrhs, const float* a, const int* lda, float* b, const int* ldb,
             int* info, size_t);
}

namespace qz {
namespace {

std::mutex& one_at_a_time() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

bool cholesky(int64_t n, float* a) {
  const std::lock_guard<std::mutex> lock(one_at_a_time());
  const int size = static_cast<int>(n);
  int info = 0;
  spotrf_("U", &size, a, &size, &info, 1);  // row-major lower is column-major upper
  return info == 0;
}

bool cholesky_solve(int64_t n, const float* lower, int64_t rows, float* b) {
  const std::lock_guard<std::mutex> lock(one_at_a_time());
  const int size = static_cast<int>(n), count = static_cast<int>(rows);
  int info = 0;
  spotrs_("U", &size, &count, lower, &size, b, &size, &info, 1);  // row-major [rows][n] is column-major n x rows
  return info == 0;
}

}  // namespace qz
