#include "columns.h"

#include "device_ops.cuh"

namespace qz::cuda {
namespace {

__global__ void __launch_bounds__(kColumnsThreads, 2) columns_kernel(const __grid_constant__ ColumnsArgs args) {
  __shared__ float shared[kTriangle];
  DeviceOps ops{shared};
  columns_body(args, ops);
}

}  // namespace

int load_columns() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, columns_kernel);
}

int launch_columns(const ColumnsArgs& args, void* stream) {
  const auto blocks = static_cast<unsigned>((args.rows + kColumnsBlockRows - 1) / kColumnsBlockRows);
  columns_kernel<<<blocks, kColumnsThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  return cudaGetLastError();
}

}  // namespace qz::cuda
