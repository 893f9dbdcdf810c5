#include "dequantize.h"

#include "device_ops.cuh"

namespace qz::cuda {
namespace {

__global__ void __launch_bounds__(kDequantizeThreads) dequantize_kernel(const __grid_constant__ DequantizeArgs args) {
  DeviceOps ops{nullptr};
  dequantize_body(args, ops);
}

}  // namespace

int load_dequantize() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, dequantize_kernel);
}

int launch_dequantize(const DequantizeArgs& args, void* stream) {
  const auto blocks = static_cast<unsigned>(args.stripes * bricks_of(args.w.cols));
  dequantize_kernel<<<blocks, kDequantizeThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  return cudaGetLastError();
}

}  // namespace qz::cuda
