// Vectors of 4 for the NEON files. In an unnamed namespace, since code compiled for a newer instruction set must not
// reach the linker under a name that another file also uses.
#pragma once
#include <arm_neon.h>

#include "kernels/low_bit_kernels.h"
#include "kernels/low_bit_unrolled.h"

namespace qz {
namespace {

struct Vectors {
  static constexpr int64_t kLanes = 4;
  typedef float Vec __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(16)));

  static inline QZ_INLINE Words load_words(const uint32_t* p) { return vld1q_u32(p); }
  static inline QZ_INLINE Vec load(const float* p) { return vld1q_f32(p); }
  static inline QZ_INLINE void store(float* p, Vec v) { vst1q_f32(p, v); }
  static inline QZ_INLINE Vec broadcast(float s) { return vdupq_n_f32(s); }
  static inline QZ_INLINE Vec fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
  static inline QZ_INLINE Vec as_f32(const void* base, DType type, int64_t index) {
    if (type == DType::kF32) return load(static_cast<const float*>(base) + index);
    const uint16x4_t half = vld1_u16(static_cast<const uint16_t*>(base) + index);
    if (type == DType::kF16) return vcvt_f32_f16(vreinterpret_f16_u16(half));
    return vreinterpretq_f32_u32(vshll_n_u16(half, 16));
  }
  static inline QZ_INLINE Vec to_f32(Words v) { return vcvtq_f32_s32(vreinterpretq_s32_u32(v)); }
};

}  // namespace
}  // namespace qz
