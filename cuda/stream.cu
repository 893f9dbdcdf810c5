#include "device_ops.cuh"
#include "stream_variants.h"

namespace qz::cuda {
namespace {

// Two blocks a multiprocessor: 16 warps with 4 KB each in flight.
template <class Type, int32_t kTiles, int32_t kAtoms>
__global__ void __launch_bounds__(kStreamThreads, 2) stream_kernel(const __grid_constant__ ProductArgs args) {
  __shared__ float shared[stream_shared_floats(kTiles)];
  DeviceOps ops{shared};
  stream_body<Type, kTiles, kAtoms>(args, ops);
}

}  // namespace

int load_stream() {
  int error = cudaSuccess;
  for (ProductArgs args = {}; const Float type : {Float::kF16, Float::kBF16}) {
    for (const int32_t m : {8, kStreamTokens}) {
      for (const int32_t group : {16, 32, 64}) {
        args.type = type, args.m = m, args.w.group = group;
        with_stream_variant(args, [&]<class Type, int32_t kTiles, int32_t kAtoms>() {
          cudaFuncAttributes attributes;
          if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, stream_kernel<Type, kTiles, kAtoms>);
        });
      }
    }
  }
  return error;
}

int launch_stream(const ProductArgs& args, void* stream) {
  const auto blocks = static_cast<unsigned>(bricks_of(args.w.rows) * args.splits);
  with_stream_variant(args, [&]<class Type, int32_t kTiles, int32_t kAtoms>() {
    stream_kernel<Type, kTiles, kAtoms><<<blocks, kStreamThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  });
  return cudaGetLastError();
}

}  // namespace qz::cuda
