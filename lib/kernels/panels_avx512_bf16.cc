// AVX-512 BF16: VDPBF16PS multiplies pairs of bfloat16 and adds both products to a float32, twice the work of an FMA.
// Factors are rounded to nearest even as they are packed; subnormal factors count as zero, as the instruction does.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/engines.h"

namespace qz {
namespace {

constexpr int64_t kMr = 12, kNv = 2, kNr = 32;  // as the float32 tile: 24 sums, 2 loads and a broadcast

typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef int WordU __attribute__((aligned(4), may_alias));

inline __attribute__((always_inline)) __mmask16 first(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << (n > 0 ? n : 0)) - 1);
}

// Word i: bfloat16 of x[i] in the low half.
inline __attribute__((always_inline)) Words low_halves(const float* x, __mmask16 mask) {
  const __m256bh narrow = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x));
  return __builtin_convertvector(reinterpret_cast<Halves>(narrow), Words);
}

// Columns [0, lanes) of one word row of a panel that is `width` wide; `second` null: k is odd there.
inline __attribute__((always_inline)) void pair_rows(const float* even, const float* odd, int64_t valid, int64_t lanes,
                                                     float* out) {
  const __mmask16 mask = first(valid);
  Words words = low_halves(even, mask);
  if (odd) words |= low_halves(odd, mask) << 16;
  _mm512_mask_storeu_epi32(out, first(lanes), reinterpret_cast<__m512i>(words));
}

void pack_along(const float* src, int64_t stride, int64_t count, int64_t width, int64_t kc, float* panel) {
  const int64_t words = (kc + 1) / 2;
  for (int64_t w = 0; w < words; ++w) {
    const float* even = src + 2 * w * stride;
    const float* odd = 2 * w + 1 < kc ? even + stride : nullptr;
    // The pieces are too short for the hardware's prefetcher to see that they repeat.
    for (int64_t i = 0; i < count; i += 16) {
      _mm_prefetch(reinterpret_cast<const char*>(even + 8 * stride + i), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(even + 9 * stride + i), _MM_HINT_T0);
    }
    for (int64_t p = 0; p < count; p += width) {
      float* out = panel + p * words + w * width;
      for (int64_t i = 0; i < width; i += 16) {
        pair_rows(even + p + i, odd ? odd + p + i : nullptr, count - p - i, width - i, out + i);
      }
    }
  }
}

typedef float Vec4 __attribute__((vector_size(16)));

// Eight k of one row as four words; past the end: zero.
inline __attribute__((always_inline)) Vec4 four_words(const float* x, __mmask8 mask) {
  const __m128bh narrow = _mm256_cvtneps_pbh(_mm256_maskz_loadu_ps(mask, x));
  Vec4 words;
  __builtin_memcpy(&words, &narrow, sizeof words);
  return words;
}

void pack_across(const float* src, int64_t stride, int64_t count, int64_t width, int64_t kc, float* panel) {
  const int64_t words = (kc + 1) / 2;
  for (int64_t i = 0; i < width; i += 4) {
    const float* rows = src + i * stride;
    const int64_t valid = count - i;  // rows past the end are zero
    for (int64_t k = 0; k < kc; k += 8) {
      const auto mask = static_cast<__mmask8>(first(kc - k < 8 ? kc - k : 8));
      const Vec4 r0 = valid > 0 ? four_words(rows + k, mask) : Vec4{};
      const Vec4 r1 = valid > 1 ? four_words(rows + stride + k, mask) : Vec4{};
      const Vec4 r2 = valid > 2 ? four_words(rows + 2 * stride + k, mask) : Vec4{};
      const Vec4 r3 = valid > 3 ? four_words(rows + 3 * stride + k, mask) : Vec4{};
      const Vec4 a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
      const Vec4 c = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
      const Vec4 t[4] = {__builtin_shufflevector(a, c, 0, 1, 4, 5), __builtin_shufflevector(a, c, 2, 3, 6, 7),
                         __builtin_shufflevector(b, d, 0, 1, 4, 5), __builtin_shufflevector(b, d, 2, 3, 6, 7)};
      float* out = panel + k / 2 * width + i;
      const int64_t here = words - k / 2 < 4 ? words - k / 2 : 4;
#pragma GCC unroll 4
      for (int64_t w = 0; w < 4; ++w) {
        if (w < here) __builtin_memcpy(out + w * width, &t[w], sizeof t[w]);
      }
    }
  }
}

inline __attribute__((always_inline)) __m512bh load_pairs(const float* p) {
  __m512bh v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

inline __attribute__((always_inline)) __m512bh broadcast_pair(const float* p) {
  const __m512i v = _mm512_set1_epi32(*reinterpret_cast<const WordU*>(p));
  __m512bh pairs;
  __builtin_memcpy(&pairs, &v, sizeof pairs);
  return pairs;
}

void tile(int64_t kc, const float* a, const float* b, float alpha, bool add, int64_t m, int64_t n, float* c,
          int64_t c_stride) {
  __m512 sum[kMr][kNv];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kMr; ++i) {
#pragma GCC unroll 2
    for (int64_t j = 0; j < kNv; ++j) sum[i][j] = _mm512_setzero_ps();
  }
  for (int64_t i = 0; i < m; ++i) {  // c comes from far: ask for it now
    for (int64_t j = 0; j < kNv; ++j) __builtin_prefetch(c + i * c_stride + j * 16, 1);
  }
  for (int64_t w = (kc + 1) / 2; w > 0; --w, a += kMr, b += kNr) {
    const __m512bh b0 = load_pairs(b), b1 = load_pairs(b + 16);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kMr; ++i) {
      const __m512bh va = broadcast_pair(a + i);
      sum[i][0] = _mm512_dpbf16_ps(sum[i][0], va, b0);
      sum[i][1] = _mm512_dpbf16_ps(sum[i][1], va, b1);
    }
  }
  const __m512 factor = _mm512_set1_ps(alpha);
  const __mmask16 mask0 = first(n), mask1 = first(n - 16);
  const __mmask16 read0 = add ? mask0 : 0, read1 = add ? mask1 : 0;
#pragma GCC unroll 16
  for (int64_t i = 0; i < kMr; ++i) {
    if (i < m) {
      float* p = c + i * c_stride;
      _mm512_mask_storeu_ps(p, mask0, _mm512_add_ps(_mm512_maskz_loadu_ps(read0, p), _mm512_mul_ps(factor, sum[i][0])));
      _mm512_mask_storeu_ps(p + 16, mask1,
                            _mm512_add_ps(_mm512_maskz_loadu_ps(read1, p + 16), _mm512_mul_ps(factor, sum[i][1])));
    }
  }
}

}  // namespace

extern const PanelKernels kPanelsAvx512Bf16;
const PanelKernels kPanelsAvx512Bf16 = {"avx512_bf16", kMr, kNr, 2, pack_across, pack_along, tile};

}  // namespace qz
#endif
