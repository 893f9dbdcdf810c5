// Sums of outer products of inputs, GPTQ's Hessian, on a device of a backend.
#pragma once
#include <memory>
#include <vector>

#include "backend/operand.h"
#include "base/context.h"
#include "tensor/matrix.h"

namespace qz {

// h = sum of x x^T over all rows that are added, kept on the device until it is asked for. Inputs are rounded to
// bfloat16, as the CPU's fast products do where it multiplies those; products are exact, sums float32.
class DeviceHessian {
 public:
  // most: rows that are added at a time. kUnsupported with words: the backend does not take the operation, or tried it
  // and has nothing that computes it; kOutOfMemory: the device has no room for it.
  static Result<std::unique_ptr<DeviceHessian>> make(std::shared_ptr<const Backend> backend, qz_device device,
                                                     int64_t cols, int64_t most);
  // Bytes that it takes on the host.
  static uint64_t host_bytes(int64_t cols, int64_t most);
  // x: [rows][cols], up to `most` rows; it may be changed when this returns.
  Status add(const Context& context, MatrixView x);
  // h: [cols][cols], written; what is above the diagonal has no meaning. Waits.
  Status get(Matrix* h) const;

 private:
  DeviceHessian(std::shared_ptr<const Backend> backend, qz_device device, int64_t cols);
  // h += x^T x of all `most` rows, zeros behind those that were added: one shape, which make() has tried.
  Status multiply();

  std::shared_ptr<const Backend> backend_;
  qz_device device_;
  int64_t cols_, stride_;          // stride of x, in elements
  std::vector<uint16_t> rounded_;  // [most][stride]; x_ is copied from it, and waits for that at its end
  Operand x_, h_;
  Workspace workspace_;
};

}  // namespace qz
