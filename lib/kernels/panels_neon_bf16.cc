// NEON with the bfloat16 products of Armv8.6: BFMMLA multiplies 2 rows with 2 columns of 4 bfloat16 each, four times
// the work of an FMA. Factors are rounded to nearest even as they are packed; subnormal factors count as zero, and sums
// are rounded to odd, as the instruction does (docs/numerics.md).
//
// Panels hold four k side by side, as the instruction takes them: [k / 4][width][4], and the last one or two k of an
// incomplete four as [width][2], which is what PanelKernels::words has room for.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/engines.h"

namespace qz {
namespace {

constexpr int64_t kMr = 12, kNr = 8;  // 6 x 4 squares of sums, 4 loads and one in 32 registers

// Four floats as bfloat16.
inline __attribute__((always_inline)) uint16x4_t narrow(float32x4_t v) {
  uint16x4_t half;
  const bfloat16x4_t rounded = vcvt_bf16_f32(v);
  __builtin_memcpy(&half, &rounded, sizeof half);
  return half;
}

// Lanes [0, n) of what is at p, the others zero.
inline __attribute__((always_inline)) float32x4_t load_some(const float* p, int64_t n) {
  if (n >= 4) return vld1q_f32(p);
  float values[4] = {};
  for (int64_t i = 0; i < n; ++i) values[i] = p[i];
  return vld1q_f32(values);
}

void pack_across(const float* src, int64_t stride, int64_t count, int64_t width, int64_t kc, float* panel) {
  auto* out = reinterpret_cast<uint16_t*>(panel);
  for (int64_t k = 0; k < kc; k += 4) {
    const int64_t valid = kc - k < 4 ? kc - k : 4, halves = valid > 2 ? 4 : 2;
    for (int64_t i = 0; i < width; ++i) {  // rows past the end are zero
      const uint16x4_t four = narrow(load_some(src + i * stride + k, i < count ? valid : 0));
      if (halves == 4) {
        vst1_u16(out + 4 * i, four);
      } else {
        __builtin_memcpy(out + 2 * i, &four, 4);
      }
    }
    out += width * halves;
  }
}

void pack_along(const float* src, int64_t stride, int64_t count, int64_t width, int64_t kc, float* panel) {
  const int64_t words = (kc + 1) / 2;
  for (int64_t k = 0; k < kc; k += 4) {
    const int64_t valid = kc - k < 4 ? kc - k : 4;
    const float* rows = src + k * stride;
    for (int64_t p = 0; p < count; p += width) {
      auto* out = reinterpret_cast<uint16_t*>(panel + p * words + k / 2 * width);
      for (int64_t i = 0; i < width; i += 4) {
        uint16x4x4_t four;
#pragma GCC unroll 4
        for (int64_t r = 0; r < 4; ++r) {
          four.val[r] = narrow(load_some(rows + r * stride + p + i, r < valid ? count - p - i : 0));
        }
        if (valid > 2) {
          vst4_u16(out + 4 * i, four);
        } else {
          vst2_u16(out + 2 * i, uint16x4x2_t{{four.val[0], four.val[1]}});
        }
      }
    }
  }
}

// The sums of rows 2i, 2i + 1 and columns 2j, 2j + 1 are the four lanes of sum[i][j].
typedef float32x4_t Sums[kMr / 2][kNr / 2];

// Two words of rows 2i and 2i + 1 of a panel; kHalf: one, and the other zero.
template <bool kHalf>
inline __attribute__((always_inline)) bfloat16x8_t load_pair(const float* panel, int64_t i) {
  if constexpr (kHalf) {
    const float32x2_t words = vld1_f32(panel + 2 * i);
    return vreinterpretq_bf16_f32(vzip1q_f32(vcombine_f32(words, words), vdupq_n_f32(0)));
  } else {
    return vreinterpretq_bf16_f32(vld1q_f32(panel + 4 * i));
  }
}

template <bool kHalf>
inline __attribute__((always_inline)) void multiply(const float* a, const float* b, Sums& sum) {
  bfloat16x8_t vb[kNr / 2];
#pragma GCC unroll 4
  for (int64_t j = 0; j < kNr / 2; ++j) vb[j] = load_pair<kHalf>(b, j);
#pragma GCC unroll 6
  for (int64_t i = 0; i < kMr / 2; ++i) {
    const bfloat16x8_t va = load_pair<kHalf>(a, i);
#pragma GCC unroll 4
    for (int64_t j = 0; j < kNr / 2; ++j) sum[i][j] = vbfmmlaq_f32(sum[i][j], va, vb[j]);
  }
}

void tile(int64_t kc, const float* a, const float* b, float alpha, bool add, int64_t m, int64_t n, float* c,
          int64_t c_stride) {
  Sums sum;
#pragma GCC unroll 6
  for (int64_t i = 0; i < kMr / 2; ++i) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < kNr / 2; ++j) sum[i][j] = vdupq_n_f32(0);
  }
  for (int64_t i = 0; i < m; ++i) __builtin_prefetch(c + i * c_stride, 1);  // c comes from far: ask for it now
  int64_t words = (kc + 1) / 2;
  for (; words >= 2; words -= 2, a += 2 * kMr, b += 2 * kNr) multiply<false>(a, b, sum);
  if (words > 0) multiply<true>(a, b, sum);
#pragma GCC unroll 6
  for (int64_t i = 0; i < kMr / 2; ++i) {
    float rows[2][kNr];
#pragma GCC unroll 4
    for (int64_t j = 0; j < kNr / 2; ++j) {
      const float32x4_t square = vmulq_n_f32(sum[i][j], alpha);
      vst1_f32(rows[0] + 2 * j, vget_low_f32(square));
      vst1_f32(rows[1] + 2 * j, vget_high_f32(square));
    }
    for (int64_t r = 0; r < 2 && 2 * i + r < m; ++r) {
      float* to = c + (2 * i + r) * c_stride;
      for (int64_t j = 0; j < n; ++j) to[j] = (add ? to[j] : 0.0f) + rows[r][j];
    }
  }
}

}  // namespace

extern const PanelKernels kPanelsNeonBf16;
const PanelKernels kPanelsNeonBf16 = {"neon_i8mm_bf16", kMr, kNr, 2, pack_across, pack_along, tile};

}  // namespace qz
#endif
