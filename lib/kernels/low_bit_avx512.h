// Vectors of 16 for the AVX-512 files. In an unnamed namespace, since code compiled for a newer instruction set must
// not reach the linker under a name that another file also uses.
#pragma once
#include <immintrin.h>

#include "kernels/low_bit_kernels.h"
#include "kernels/low_bit_unrolled.h"

namespace qz {
namespace {

struct Vectors {
  static constexpr int64_t kLanes = 16;
  typedef float Vec __attribute__((vector_size(64)));
  typedef float VecU __attribute__((vector_size(64), aligned(4), may_alias));
  typedef uint32_t Words __attribute__((vector_size(64)));
  typedef uint32_t WordsU __attribute__((vector_size(64), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(64)));
  typedef uint16_t HalvesU __attribute__((vector_size(32), aligned(2), may_alias));

  static inline QZ_INLINE Words load_words(const uint32_t* p) { return *reinterpret_cast<const WordsU*>(p); }
  static inline QZ_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecU*>(p); }
  static inline QZ_INLINE void store(float* p, Vec v) { *reinterpret_cast<VecU*>(p) = v; }
  static inline QZ_INLINE Vec broadcast(float s) { return s - Vec{}; }
  static inline QZ_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  static inline QZ_INLINE Vec as_f32(const void* base, DType type, int64_t index) {
    if (type == DType::kF32) return load(static_cast<const float*>(base) + index);
    const HalvesU half = *reinterpret_cast<const HalvesU*>(static_cast<const uint16_t*>(base) + index);
    if (type == DType::kF16) return _mm512_maskz_cvtph_ps(0xFFFF, reinterpret_cast<__m256i>(half));
    return reinterpret_cast<Vec>(__builtin_convertvector(half, Words) << 16);
  }
  static inline QZ_INLINE Vec to_f32(Words v) { return __builtin_convertvector(reinterpret_cast<Integers>(v), Vec); }
};

}  // namespace
}  // namespace qz
