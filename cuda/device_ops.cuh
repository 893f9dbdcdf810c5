// What the bodies of the kernels need of the hardware, in PTX. tests/cuda/emulator.h has the same on the host.
#pragma once
#include "args.h"
#include "expand.h"

namespace qz::cuda {

struct DeviceOps {
  float* shared_memory;
  struct Words {
    uint32_t v[4];
  };

  __device__ int32_t thread() const { return static_cast<int32_t>(threadIdx.x); }
  __device__ int32_t block() const { return static_cast<int32_t>(blockIdx.x); }
  __device__ float* shared() const { return shared_memory; }
  __device__ void sync() const { __syncthreads(); }
  __device__ void fence() const { __threadfence(); }

  // Read once by one warp: past the L1 cache, first to leave L2.
  __device__ Words load_stream(const uint32_t* p) const {
    Words w;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(w.v[0]), "=r"(w.v[1]), "=r"(w.v[2]), "=r"(w.v[3])
                 : "l"(p));
    return w;
  }
  __device__ uint32_t load_4(const void* p) const { return __ldg(static_cast<const uint32_t*>(p)); }
  __device__ uint16_t load_2(const void* p) const { return __ldg(static_cast<const uint16_t*>(p)); }
  __device__ uint8_t load_8(const uint8_t* p) const { return __ldg(p); }
  __device__ float load_float32(const float* p) const { return __ldg(p); }

  __device__ static float f16(uint16_t v) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
    return f;
  }
  __device__ static float bf16(uint32_t v) { return __uint_as_float(v << 16); }
  __device__ static uint16_t to_f16(float f) {
    uint16_t v;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(v) : "f"(f));
    return v;
  }
  __device__ static uint16_t to_bf16(float f) {
    uint16_t v;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(v) : "f"(f));
    return v;
  }
  __device__ float load_float(const void* p, int64_t i, Float type) const {
    if (type == Float::kF32) return __ldg(static_cast<const float*>(p) + i);
    const uint16_t v = load_2(static_cast<const uint16_t*>(p) + i);
    return type == Float::kF16 ? f16(v) : bf16(v);
  }
  // Elements i and i + 1, i even.
  __device__ void load_float_pair(const void* p, int64_t i, Float type, float* a, float* b) const {
    if (type == Float::kF32) {
      const float2 both = __ldg(reinterpret_cast<const float2*>(static_cast<const float*>(p) + i));
      *a = both.x, *b = both.y;
      return;
    }
    const uint32_t both = load_4(static_cast<const uint16_t*>(p) + i);
    *a = type == Float::kF16 ? f16(both & 0xffff) : bf16(both & 0xffff);
    *b = type == Float::kF16 ? f16(both >> 16) : bf16(both >> 16);
  }
  __device__ void store_float(void* p, int64_t i, Float type, float f) const {
    if (type == Float::kF32) {
      static_cast<float*>(p)[i] = f;
    } else {
      static_cast<uint16_t*>(p)[i] = type == Float::kF16 ? to_f16(f) : to_bf16(f);
    }
  }
  __device__ void store_partial(float* p, float f) const { __stcg(p, f); }
  __device__ float load_partial(const float* p) const { return __ldcg(p); }
  __device__ uint32_t add_one(uint32_t* p) const { return atomicAdd(p, 1u); }
  __device__ void clear(uint32_t* p) const { *p = 0; }

  __device__ static Words shared_words(const void* p) {
    const uint4 w = *static_cast<const uint4*>(p);
    return {{w.x, w.y, w.z, w.w}};
  }
  __device__ static uint32_t shared_4(const void* p) { return *static_cast<const uint32_t*>(p); }
  __device__ static uint16_t shared_2(const void* p) { return *static_cast<const uint16_t*>(p); }
  __device__ static void shared_float_pair(const void* p, int64_t i, Float type, float* a, float* b) {
    if (type == Float::kF32) {
      const float2 both = *reinterpret_cast<const float2*>(static_cast<const float*>(p) + i);
      *a = both.x, *b = both.y;
      return;
    }
    const uint32_t both = *reinterpret_cast<const uint32_t*>(static_cast<const uint16_t*>(p) + i);
    *a = type == Float::kF16 ? f16(both & 0xffff) : bf16(both & 0xffff);
    *b = type == Float::kF16 ? f16(both >> 16) : bf16(both >> 16);
  }

  __device__ static uint32_t address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  }
  // 16 bytes past the L1 cache, those from `bytes` on zero.
  __device__ static void copy_16(void* to, const void* from, int32_t bytes) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address(to)), "l"(from), "r"(bytes)
                 : "memory");
  }
  __device__ static void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int32_t kLeft>
  __device__ static void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
  }
  __device__ static void load_matrices(const void* row, uint32_t (&r)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address(row))
                 : "memory");
  }

  // (a & b) | c in one instruction: of two constants the compiler makes two.
  __device__ static uint32_t and_or(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
  }
  __device__ static float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
  // Rounded each, never contracted.
  __device__ static float add(float a, float b) { return __fadd_rn(a, b); }
  __device__ static float mul(float a, float b) { return __fmul_rn(a, b); }
  __device__ static float div(float a, float b) { return __fdiv_rn(a, b); }
  __device__ static float shuffle(float f, int32_t from) { return __shfl_sync(0xffffffffu, f, from); }
  __device__ static void store_8(uint8_t* p, uint8_t v) { *p = v; }
  template <class Type>
  __device__ static uint32_t add2(uint32_t a, uint32_t b);
  template <class Type>
  __device__ static void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
};

template <>
__device__ inline uint32_t DeviceOps::add2<Half>(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
template <>
__device__ inline uint32_t DeviceOps::add2<Brain>(uint32_t a, uint32_t b) {
  uint32_t d;  // sm_80 has no add.bf16x2: a * 1 + b
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(0x3f803f80u), "r"(b));
  return d;
}
template <>
__device__ inline void DeviceOps::mma<Half>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ inline void DeviceOps::mma<Brain>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace qz::cuda
