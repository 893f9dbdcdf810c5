#include "hopper_ops.cuh"
#include "wide.h"

namespace qz::cuda {
namespace {

template <class Type, class W>
__global__ void __launch_bounds__(kWideThreads, 1) wide_kernel(const __grid_constant__ ProductArgs args) {
  extern __shared__ __align__(1024) float shared[];
  HopperOps ops{{shared}};
  wide_body<Type, W>(args, ops);
}

}  // namespace

// More than 48 KB of shared memory have to be asked for, once per kernel and device.
int load_wide() {
  int error = cudaSuccess;
  for (ProductArgs args = {}; const Float type : {Float::kF16, Float::kBF16}) {
    for (const int32_t group : {32, 64}) {
      for (const Float scale : {type, Float::kF32}) {
        args.type = type, args.w.group = group, args.w.scale = scale;
        with_wide_variant(args, [&]<class Type, class W>() {
          if (error == cudaSuccess)
            error = cudaFuncSetAttribute(wide_kernel<Type, W>, cudaFuncAttributeMaxDynamicSharedMemorySize, W::kBytes);
        });
      }
    }
  }
  return error;
}

int launch_wide(const ProductArgs& args, void* stream) {
  with_wide_variant(args, [&]<class Type, class W>() {
    const auto blocks = static_cast<unsigned>(wide_blocks(args.w.rows, args.m));
    wide_kernel<Type, W><<<blocks, kWideThreads, W::kBytes, static_cast<cudaStream_t>(stream)>>>(args);
  });
  return cudaGetLastError();
}

}  // namespace qz::cuda
