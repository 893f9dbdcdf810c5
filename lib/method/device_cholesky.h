// The Cholesky factorization and its solves (method/cholesky.h) on a device of a backend.
#pragma once
#include <cstdint>
#include <memory>

#include "backend/operand.h"

namespace qz {

// As cholesky(): a is [n][n], its lower triangle becomes L; there and back. Returns how many leading columns could be
// factored, n or less; a is unspecified then. kUnsupported with words: the backend does not take it, kOutOfMemory: the
// device has no room; a is as it was.
Result<int64_t> cholesky_on(const Backend& backend, qz_device device, int64_t n, float* a);

// As cholesky_solve(), for rows that come a part at a time.
class DeviceCholesky {
 public:
  // lower: [n][n], copied to the device; most: rows at a time. Fails as cholesky_on() does.
  static Result<std::unique_ptr<DeviceCholesky>> make(std::shared_ptr<const Backend> backend, qz_device device,
                                                      int64_t n, const float* lower, int64_t most);
  // x: [rows][n], up to `most` rows, replaced by x (L L^T)^-1.
  Status solve(int64_t rows, float* x);

 private:
  DeviceCholesky(std::shared_ptr<const Backend> backend, qz_device device);
  qz_op op_of(qz_tensor (&operands)[2], int64_t rows) const;

  std::shared_ptr<const Backend> backend_;
  qz_device device_;
  Operand lower_, x_;
  Workspace workspace_;
};

}  // namespace qz
