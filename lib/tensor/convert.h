// Conversions between 16-bit and 32-bit floats. Round to nearest, ties to even; NaN stays NaN; overflow gives infinity.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace qz {

inline float bf16_to_f32(uint16_t v) {
  const uint32_t u = static_cast<uint32_t>(v) << 16;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
uint16_t f32_to_bf16(float v);
float f16_to_f32(uint16_t v);
uint16_t f32_to_f16(float v);

// n elements of a float dtype (F32, F16, BF16) at any alignment -> float32. Any other dtype is a bug of the caller.
void to_f32(const void* src, DType dtype, size_t n, float* dst);
// and back.
void from_f32(const float* src, DType dtype, size_t n, void* dst);
// v rounded to dtype and back.
float round_to(float v, DType dtype);

}  // namespace qz
