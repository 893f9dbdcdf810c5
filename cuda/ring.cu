#include "device_ops.cuh"
#include "ring_variants.h"

namespace qz::cuda {
namespace {

template <class Type, class R>
__global__ void __launch_bounds__(kRingThreads, R::kBlocks) ring_kernel(const __grid_constant__ ProductArgs args) {
  extern __shared__ __align__(1024) float shared[];
  DeviceOps ops{shared};
  ring_body<Type, R>(args, ops);
}

}  // namespace

// More than 48 KB of shared memory have to be asked for, once per kernel and device.
int load_ring() {
  int error = cudaSuccess;
  for (ProductArgs args = {}; const Float type : {Float::kF16, Float::kBF16}) {
    for (const int32_t m : {16, 32, kRingTokens}) {
      for (const int32_t parts : {1, 2}) {
        for (const int32_t group : {32, 64}) {
          args.type = type, args.m = m, args.parts = parts, args.w.group = group;
          with_ring_variant(args, [&]<class Type, class R>() {
            if (error == cudaSuccess)
              error =
                  cudaFuncSetAttribute(ring_kernel<Type, R>, cudaFuncAttributeMaxDynamicSharedMemorySize, R::kBytes);
          });
        }
      }
    }
  }
  return error;
}

int launch_ring(const ProductArgs& args, void* stream) {
  with_ring_variant(args, [&]<class Type, class R>() {
    const auto blocks = static_cast<unsigned>(ring_tiles<R>(args.w.rows) * args.splits);
    ring_kernel<Type, R><<<blocks, kRingThreads, R::kBytes, static_cast<cudaStream_t>(stream)>>>(args);
  });
  return cudaGetLastError();
}

}  // namespace qz::cuda
