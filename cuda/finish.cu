#include "finish.h"

#include "device_ops.cuh"

namespace qz::cuda {
namespace {

__global__ void __launch_bounds__(kFinishThreads) finish_kernel(const __grid_constant__ FinishArgs args) {
  DeviceOps ops{nullptr};
  finish_body(args, ops);
}

}  // namespace

int load_finish() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, finish_kernel);
}

int launch_finish(const FinishArgs& args, void* stream) {
  const auto blocks = static_cast<unsigned>(args.m * finish_blocks_of_row(args.rows));
  finish_kernel<<<blocks, kFinishThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  return cudaGetLastError();
}

}  // namespace qz::cuda
