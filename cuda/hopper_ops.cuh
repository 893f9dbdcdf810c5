// What bodies of kernels need beyond DeviceOps on compute capability 9.0: products of a warpgroup (PTX ISA,
// "Asynchronous Warpgroup Level Matrix Instructions"). To be compiled for sm_90a alone.
#pragma once
#include "device_ops.cuh"
#include "swizzle.h"

namespace qz::cuda {

struct HopperOps : DeviceOps {
  __device__ static uint64_t descriptor(const void* tile) { return tile_descriptor(address(tile)); }
  // What cp.async wrote becomes visible to wgmma, which reads as the asynchronous proxy does: by who wrote it, before
  // the barrier behind which others multiply.
  __device__ static void fence_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
  // Registers that were written become operands of what follows.
  __device__ static void fence_products() {
    asm volatile("fence.proxy.async.shared::cta;\nwgmma.fence.sync.aligned;" ::: "memory");
  }
  __device__ static void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
  template <int32_t kLeft>
  __device__ static void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
  }
  // After wait_products(): keeps the compiler from reading sums earlier.
  __device__ static void settle(float (&c)[32]) {
#pragma unroll
    for (int32_t i = 0; i < 32; ++i) asm volatile("" : "+f"(c[i])::"memory");
  }
  // c += a b^T of m64n64k16, a in registers.
  template <class Type>
  __device__ static void wgmma(float (&c)[32], const uint32_t (&a)[4], uint64_t descriptor);
  // Both halves times b's, or times b, rounded once to the type.
  template <class Type>
  __device__ static uint32_t mul2(uint32_t a, uint32_t b);
  template <class Type>
  __device__ static uint32_t scale2(uint32_t a, float b);
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

template <>
__device__ inline uint32_t HopperOps::mul2<Half>(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
template <>
__device__ inline uint32_t HopperOps::mul2<Brain>(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}

template <>
__device__ inline uint32_t HopperOps::scale2<Half>(uint32_t a, float b) {
  const float low = mul(f16(a & 0xffff), b), high = mul(f16(a >> 16), b);
  uint32_t d;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
template <>
__device__ inline uint32_t HopperOps::scale2<Brain>(uint32_t a, float b) {
  const float low = mul(bf16(a & 0xffff), b), high = mul(bf16(a >> 16), b);
  uint32_t d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}

}  // namespace qz::cuda
