// probe: the asynchronous instructions on this GPU against the emulator's idea of them (tests/cuda/probe.h): the same
// three products, bit for bit. Exit 77: no GPU, or one without them.
#include <cstdio>
#include <random>
#include <vector>

#include "device_ops.cuh"
#include "tests/cuda/probe.h"

namespace qz::cuda {
namespace {

struct HopperOps : DeviceOps {
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
  // What cp.async wrote becomes visible to wgmma, which reads as the asynchronous proxy does.
  __device__ static void fence_products() {
    asm volatile("fence.proxy.async.shared::cta;\nwgmma.fence.sync.aligned;" ::: "memory");
  }
  __device__ static void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
  template <int32_t kLeft>
  __device__ static void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
  }
  template <class Type>
  __device__ static void wgmma(float (&c)[32], const uint32_t (&a)[4], uint64_t descriptor);
};

#define QZ_WGMMA(type)                                                                                                 \
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                                             \
               " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, "     \
               "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "                                              \
               "{%32, %33, %34, %35}, %36, 1, 1, 1, 0;"                                                                \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),       \
                 "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]), \
                 "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]),            \
                 "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]),            \
                 "+f"(c[30]), "+f"(c[31])                                                                              \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(descriptor)                                           \
               : "memory")

template <>
__device__ inline void HopperOps::wgmma<Half>(float (&c)[32], const uint32_t (&a)[4], uint64_t descriptor) {
  QZ_WGMMA("f16");
}
template <>
__device__ inline void HopperOps::wgmma<Brain>(float (&c)[32], const uint32_t (&a)[4], uint64_t descriptor) {
  QZ_WGMMA("bf16");
}
#undef QZ_WGMMA

template <class Type, Probe kProbe>
__global__ void __launch_bounds__(kProbeThreads) probe_kernel(const __grid_constant__ ProbeArgs args) {
  extern __shared__ __align__(1024) float shared[];
  HopperOps ops{{shared}};
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
