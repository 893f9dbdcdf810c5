// probe: the asynchronous instructions on this GPU against the emulator's idea of them (tests/cuda/probe.h): the same
// three products, bit for bit. Exit 77: no GPU, or one without them.
#include <cstdio>
#include <random>
#include <vector>

#include "hopper_ops.cuh"
#include "tests/cuda/probe.h"

namespace qz::cuda {
namespace {

struct ProbeOps : HopperOps {
  __device__ static void init_barrier(uint64_t* barrier, int32_t count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address(barrier)), "r"(count) : "memory");
  }
  __device__ static void fence_barriers() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
  __device__ static void arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address(barrier)) : "memory");
  }
  __device__ static void arrive_expecting(uint64_t* barrier, int32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address(barrier)), "r"(bytes)
                 : "memory");
  }
  __device__ static void wait_phase(uint64_t* barrier, uint32_t parity) {
    uint32_t done = 0;
    while (!done)
      asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                   : "=r"(done)
                   : "r"(address(barrier)), "r"(parity)
                   : "memory");
  }
  __device__ static void copy_bulk(void* to, const void* from, int32_t bytes, uint64_t* barrier) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(address(to)),
        "l"(from), "r"(bytes), "r"(address(barrier))
        : "memory");
  }
  __device__ static uint64_t descriptor(const void* tile) { return tile_descriptor(address(tile)); }
};

template <class Type, Probe kProbe>
__global__ void __launch_bounds__(kProbeThreads) probe_kernel(const __grid_constant__ ProbeArgs args) {
  extern __shared__ __align__(1024) float shared[];
  ProbeOps ops{{{shared}}};
  probe_body<Type, kProbe, Omit::kNothing>(args, ops);
}

uint16_t bits_of(float whole, const Half*) {  // of a whole number below 16
  const auto h = static_cast<_Float16>(whole);
  return __builtin_bit_cast(uint16_t, h);
}
uint16_t bits_of(float whole, const Brain*) { return static_cast<uint16_t>(__builtin_bit_cast(uint32_t, whole) >> 16); }

// Whether the product is the one that sums on the host give.
template <class Type, Probe kProbe>
bool good(int32_t steps) {
  std::mt19937 random(7);
  const size_t k = static_cast<size_t>(steps) * 64;
  std::vector<float> x[2], found(64 * 64);
  void *device[2], *out;
  for (int which = 0; which < 2; ++which) {
    std::vector<uint16_t> bits;
    for (size_t i = 0; i < 64 * k; ++i) {
      x[which].push_back(static_cast<float>(random() % 17) - 8);
      bits.push_back(bits_of(x[which].back(), static_cast<const Type*>(nullptr)));
    }
    cudaMalloc(&device[which], bits.size() * 2);
    cudaMemcpy(device[which], bits.data(), bits.size() * 2, cudaMemcpyHostToDevice);
  }
  cudaMalloc(&out, found.size() * 4);
  const ProbeArgs args = {static_cast<const uint16_t*>(device[0]), static_cast<const uint16_t*>(device[1]),
                          static_cast<float*>(out), steps};
  probe_kernel<Type, kProbe><<<1, kProbeThreads, kProbeBytes>>>(args);
  const cudaError_t error = cudaMemcpy(found.data(), out, found.size() * 4, cudaMemcpyDeviceToHost);
  if (error != cudaSuccess) std::printf("%s\n", cudaGetErrorString(error));
  bool same = error == cudaSuccess;
  for (size_t i = 0; i < found.size() && same; ++i) {
    float want = 0;
    for (size_t j = 0; j < k; ++j) want += x[0][i / 64 * k + j] * x[1][i % 64 * k + j];
    same = found[i] == want;
  }
  cudaFree(device[0]), cudaFree(device[1]), cudaFree(out);
  return same;
}

template <Probe kProbe>
int check(const char* name) {
  const bool same = good<Half, kProbe>(1) && good<Half, kProbe>(8) && good<Brain, kProbe>(8);
  std::printf("%s: %s\n", name, same ? "as emulated" : "NOT as emulated");
  return same ? 0 : 1;
}

}  // namespace
}  // namespace qz::cuda

int main() {
  using namespace qz::cuda;
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess || properties.major != 9) {
    std::printf("SKIPPED: no GPU of compute capability 9.0\n");
    return 77;
  }
  return check<Probe::kCopies>("cp.async, ldmatrix, mma") + check<Probe::kBulk>("cp.async.bulk, mbarrier") +
         check<Probe::kWide>("wgmma");
}
