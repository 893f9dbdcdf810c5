// The device's runtime as the backend needs it: cudart and cuBLASLt (runtime.cc, cublaslt.cc), or the emulator
// (tests/cuda/runtime_host.cc).
#pragma once
#include <cstdint>
#include <string>

#include "args.h"
#include "qz/backend.h"

namespace qz::cuda {

// What came of it, in words if it failed.
struct Outcome {
  qz_status status = QZ_STATUS_OK;
  std::string words;
  bool ok() const { return status == QZ_STATUS_OK; }
};

#define QZ_CUDA_TRY(expr)                                     \
  do {                                                        \
    if (::qz::cuda::Outcome o_ = (expr); !o_.ok()) return o_; \
  } while (0)

// Of a launcher: the runtime's words for its number.
Outcome launched(int error, const char* what);

// How many devices there are; a failure says why none can be used.
Outcome start(int32_t* count);
struct Facts {
  std::string name;
  int32_t capability = 0;  // 10 * major + minor
  int32_t multiprocessors = 0;
  uint64_t memory = 0;  // bytes
};
Outcome read_facts(int32_t device, Facts* out);

Outcome allocate(int32_t device, uint64_t bytes, void** out);
void release(int32_t device, void* pointer);
// In stream order, between host and device or within one.
Outcome copy(int32_t device, void* stream, void* to, const void* from, uint64_t bytes);
Outcome fill_zero(int32_t device, void* stream, void* pointer, uint64_t bytes);
Outcome synchronize(int32_t device, void* stream);

// Makes a device the calling thread's while it lives; where it is already, the thread is left as it is.
class OnDevice {
 public:
  explicit OnDevice(int32_t device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  const Outcome& outcome() const { return outcome_; }

 private:
  int32_t before_ = -1;  // to be restored
  Outcome outcome_;
};

// y = x w^T: w [rows][w_stride], x [m][x_stride], y [m][y_stride] of y_type; float32 sums.
struct DenseArgs {
  const void *w, *x;
  void* y;
  int64_t w_stride, x_stride, y_stride;
  int32_t m, rows, cols;
  Float type, y_type;
  bool w_across = false, x_across = false;  // they lie [cols][w_stride], [cols][x_stride]
  bool adds = false;                        // to y, which is F32
  void* workspace;
  uint64_t workspace_bytes;
};
// What dense_product() needs is opened and made: not while a stream is captured. Any thread, any number of times.
Outcome prepare_dense(int32_t device);
Outcome dense_product(int32_t device, void* stream, const DenseArgs& args);

}  // namespace qz::cuda
