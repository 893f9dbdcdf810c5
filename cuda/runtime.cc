#include "runtime.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

namespace qz::cuda {
namespace {

constexpr char kDriver[] = "libcuda.so.1";

Outcome outcome_of(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  (void)cudaGetLastError();  // forgotten, so that the next call does not report it again
  const qz_status status = error == cudaErrorMemoryAllocation ? QZ_STATUS_OUT_OF_MEMORY : QZ_STATUS_DEVICE;
  return {status, std::string(what) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")"};
}

}  // namespace

Outcome launched(int error, const char* what) { return outcome_of(static_cast<cudaError_t>(error), what); }

Outcome start(int32_t* count) {
  // cudart says "insufficient driver" of a machine that has none.
  void* driver = dlopen(kDriver, RTLD_NOW | RTLD_LOCAL);
  if (!driver) return {QZ_STATUS_DEVICE, std::string("no driver: ") + kDriver + " is not there"};
  int n = 0;
  const cudaError_t error = cudaGetDeviceCount(&n);
  if (error == cudaErrorInsufficientDriver)
    return {QZ_STATUS_DEVICE, "the driver is older than CUDA 13 needs: 580 or newer"};
  if (error == cudaErrorNoDevice || (error == cudaSuccess && n == 0)) {
    (void)cudaGetLastError();
    return {QZ_STATUS_DEVICE, "the driver shows this process no GPU (CUDA_VISIBLE_DEVICES hides them)"};
  }
  if (error != cudaSuccess) return outcome_of(error, "counting GPUs");
  *count = n;
  return {};
}

Outcome read_facts(int32_t device, Facts* out) {
  cudaDeviceProp properties;
  const std::string what = "GPU " + std::to_string(device);
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess)
    return outcome_of(error, what.c_str());
  out->name = properties.name;
  out->capability = 10 * properties.major + properties.minor;
  out->multiprocessors = properties.multiProcessorCount;
  out->memory = properties.totalGlobalMem;
  return {};
}

OnDevice::OnDevice(int32_t device) {
  int before = -1;
  outcome_ = outcome_of(cudaGetDevice(&before), "the thread's GPU");
  if (!outcome_.ok() || before == device) return;
  outcome_ = outcome_of(cudaSetDevice(device), "making a GPU the thread's");
  if (outcome_.ok()) before_ = before;
}

OnDevice::~OnDevice() {
  if (before_ >= 0) (void)cudaSetDevice(before_);
}

Outcome allocate(int32_t device, uint64_t bytes, void** out) {
  const OnDevice on(device);
  QZ_CUDA_TRY(on.outcome());
  return outcome_of(cudaMalloc(out, bytes), "memory on the GPU");
}

void release(int32_t device, void* pointer) {
  const OnDevice on(device);
  (void)cudaFree(pointer);
}

Outcome copy(int32_t device, void* stream, void* to, const void* from, uint64_t bytes) {
  const OnDevice on(device);
  QZ_CUDA_TRY(on.outcome());
  return outcome_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)), "copy");
}

Outcome fill_zero(int32_t device, void* stream, void* pointer, uint64_t bytes) {
  const OnDevice on(device);
  QZ_CUDA_TRY(on.outcome());
  return outcome_of(cudaMemsetAsync(pointer, 0, bytes, static_cast<cudaStream_t>(stream)), "fill with zeros");
}

Outcome synchronize(int32_t device, void* stream) {
  const OnDevice on(device);
  QZ_CUDA_TRY(on.outcome());
  return outcome_of(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "waiting for the GPU");
}

}  // namespace qz::cuda
