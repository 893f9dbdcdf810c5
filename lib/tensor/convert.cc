#include "tensor/convert.h"

#include <cassert>

#include "base/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qz {
namespace {

uint32_t bits_of(float v) {
  uint32_t u;
  std::memcpy(&u, &v, 4);
  return u;
}

float float_of(uint32_t u) {
  float v;
  std::memcpy(&v, &u, 4);
  return v;
}

QZ_SIMD_CLONES void bf16_to_f32_bulk(const uint8_t* src, size_t n, float* dst) {
  for (size_t i = 0; i < n; ++i) {
    uint16_t v;
    std::memcpy(&v, src + 2 * i, 2);
    const uint32_t u = static_cast<uint32_t>(v) << 16;
    std::memcpy(dst + i, &u, 4);
  }
}

// As f32_to_bf16, without a call.
QZ_SIMD_CLONES void f32_to_bf16_bulk(const float* src, size_t n, uint8_t* dst) {
  for (size_t i = 0; i < n; ++i) {
    uint32_t u;
    std::memcpy(&u, src + i, 4);
    const uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16, quiet = (u >> 16) | 0x0040u;
    const auto v = static_cast<uint16_t>((u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
    std::memcpy(dst + 2 * i, &v, 2);
  }
}

void f16_to_f32_scalar(const uint8_t* src, size_t n, float* dst) {
  for (size_t i = 0; i < n; ++i) {
    uint16_t v;
    std::memcpy(&v, src + 2 * i, 2);
    dst[i] = f16_to_f32(v);
  }
}

void f32_to_f16_scalar(const float* src, size_t n, uint8_t* dst) {
  for (size_t i = 0; i < n; ++i) {
    const uint16_t v = f32_to_f16(src[i]);
    std::memcpy(dst + 2 * i, &v, 2);
  }
}

#if defined(__x86_64__)
// F16C rounds as asked and quiets NaNs keeping the payload's upper bits: the same bits as the scalar code (a test
// compares them).
__attribute__((target("avx,f16c"))) void f16_to_f32_f16c(const uint8_t* src, size_t n, float* dst) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + 2 * i));
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(v));
  }
  f16_to_f32_scalar(src + 2 * i, n - i, dst + i);
}

__attribute__((target("avx,f16c"))) void f32_to_f16_f16c(const float* src, size_t n, uint8_t* dst) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i v = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 2 * i), v);
  }
  f32_to_f16_scalar(src + i, n - i, dst + 2 * i);
}

bool has_f16c() {
  static const bool has = __builtin_cpu_supports("f16c") && __builtin_cpu_supports("avx");
  return has;
}
#endif

void f16_to_f32_bulk(const uint8_t* src, size_t n, float* dst) {
#if defined(__x86_64__)
  if (has_f16c()) return f16_to_f32_f16c(src, n, dst);
#endif
  f16_to_f32_scalar(src, n, dst);
}

void f32_to_f16_bulk(const float* src, size_t n, uint8_t* dst) {
#if defined(__x86_64__)
  if (has_f16c()) return f32_to_f16_f16c(src, n, dst);
#endif
  f32_to_f16_scalar(src, n, dst);
}

}  // namespace

// Round to nearest even on the dropped 16 bits; a NaN keeps its sign and upper payload and becomes quiet.
uint16_t f32_to_bf16(float v) {
  const uint32_t u = bits_of(v);
  const uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16, quiet = (u >> 16) | 0x0040u;
  return static_cast<uint16_t>((u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
}

float f16_to_f32(uint16_t v) {
  const uint32_t sign = static_cast<uint32_t>(v & 0x8000u) << 16;
  const uint32_t exponent = (v >> 10) & 0x1Fu, mantissa = v & 0x3FFu;
  if (exponent == 0x1F) {
    return float_of(sign | 0x7F800000u | (mantissa << 13) | (mantissa ? 0x00400000u : 0u));
  }
  if (exponent != 0) return float_of(sign | ((exponent + 112) << 23) | (mantissa << 13));
  // Zero and subnormals: mantissa * 2^-24, exact in float32.
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return float_of(sign | bits_of(magnitude));
}

uint16_t f32_to_f16(float v) {
  const uint32_t u = bits_of(v), magnitude = u & 0x7FFFFFFFu;
  const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
  if (magnitude > 0x7F800000u) {
    return static_cast<uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x1FFu));
  }
  if (magnitude >= 0x477FF000u) return sign | 0x7C00u;  // from 65520 = halfway to 2^16 on
  if (magnitude >= 0x38800000u) {                       // normal: from 2^-14 on
    const uint32_t rebiased = magnitude - (112u << 23);
    return static_cast<uint16_t>(sign | ((rebiased + 0xFFFu + ((rebiased >> 13) & 1u)) >> 13));
  }
  if (magnitude < 0x33000000u) return sign;  // below 2^-25, half of the least subnormal
  // Subnormal: the significand shifted so that its unit is 2^-24, rounded to even by hand.
  const uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
  const uint32_t shift = 126 - (magnitude >> 23);  // 14 … 24
  const uint32_t whole = significand >> shift, rest = significand & ((1u << shift) - 1), half = 1u << (shift - 1);
  const uint32_t up = rest > half || (rest == half && (whole & 1u)) ? 1 : 0;
  return static_cast<uint16_t>(sign | (whole + up));
}

void to_f32(const void* src, DType dtype, size_t n, float* dst) {
  const auto* bytes = static_cast<const uint8_t*>(src);
  switch (dtype) {
    case DType::kF32:
      if (n) std::memcpy(dst, bytes, 4 * n);
      return;
    case DType::kF16:
      return f16_to_f32_bulk(bytes, n, dst);
    case DType::kBF16:
      return bf16_to_f32_bulk(bytes, n, dst);
    default:
      assert(false && "to_f32: not a float dtype");
  }
}

void from_f32(const float* src, DType dtype, size_t n, void* dst) {
  auto* bytes = static_cast<uint8_t*>(dst);
  switch (dtype) {
    case DType::kF32:
      if (n) std::memcpy(bytes, src, 4 * n);
      return;
    case DType::kF16:
      return f32_to_f16_bulk(src, n, bytes);
    case DType::kBF16:
      return f32_to_bf16_bulk(src, n, bytes);
    default:
      assert(false && "from_f32: not a float dtype");
  }
}

float round_to(float v, DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return f16_to_f32(f32_to_f16(v));
    case DType::kBF16:
      return bf16_to_f32(f32_to_bf16(v));
    default:
      assert(dtype == DType::kF32 && "round_to: not a float dtype");
      return v;
  }
}

}  // namespace qz
