// AMX bfloat16: TDPBF16PS multiplies a tile of 16 rows x 32 k by one of 16 pairs of k x 16 columns. Factors are rounded
// to nearest even as they are packed; subnormal factors count as zero, as the instruction does.
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593, in immintrin.h
#endif
#include <immintrin.h>

#include "kernels/block_kernels.h"

namespace qz {
namespace {

typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint32_t Words __attribute__((vector_size(64)));

inline __attribute__((always_inline)) __mmask16 first(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << (n > 0 ? n : 0)) - 1);
}

// Sixteen words, a word being two k of one row or column.
struct Square {
  __m512i line[16];
};

inline __attribute__((always_inline)) __m512i pairs_of(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// Line i: k in [0, 32) of row i.
inline __attribute__((always_inline)) Square load_across(const float* src, int64_t stride, int64_t count, int64_t kc) {
  Square s;
  const __mmask16 low = first(kc), high = first(kc - 16);
#pragma GCC unroll 16
  for (int64_t i = 0; i < 16; ++i) {
    const float* row = src + i * stride;
    s.line[i] = i < count ? pairs_of(_mm512_maskz_loadu_ps(low, row), _mm512_maskz_loadu_ps(high, row + 16))
                          : _mm512_setzero_si512();
  }
  return s;
}

inline __attribute__((always_inline)) Square load_across(const uint16_t* src, int64_t stride, int64_t count,
                                                         int64_t kc) {
  Square s;
  const auto mask = static_cast<__mmask32>(kc >= 32 ? 0xFFFFFFFFu : (1u << kc) - 1);
#pragma GCC unroll 16
  for (int64_t i = 0; i < 16; ++i) {
    s.line[i] = i < count ? _mm512_maskz_loadu_epi16(mask, src + i * stride) : _mm512_setzero_si512();
  }
  return s;
}

// Line p: pair p of k of 16 neighbours.
inline __attribute__((always_inline)) Square load_along(const float* src, int64_t stride, int64_t count, int64_t kc) {
  const __m512i even_odd = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                            21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  Square s;
  const __mmask16 mask = first(count);
#pragma GCC unroll 16
  for (int64_t p = 0; p < 16; ++p) {
    const float* even = src + 2 * p * stride;
    const __m512 low = _mm512_maskz_loadu_ps(2 * p < kc ? mask : 0, even);
    const __m512 high = _mm512_maskz_loadu_ps(2 * p + 1 < kc ? mask : 0, even + stride);
    s.line[p] = _mm512_permutexvar_epi16(even_odd, pairs_of(low, high));
  }
  return s;
}

inline __attribute__((always_inline)) Square transposed(const Square& s) {
  Square a, b;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a.line[2 * i] = _mm512_unpacklo_epi32(s.line[2 * i], s.line[2 * i + 1]);
    a.line[2 * i + 1] = _mm512_unpackhi_epi32(s.line[2 * i], s.line[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      b.line[4 * i + 2 * h] = _mm512_unpacklo_epi64(a.line[4 * i + h], a.line[4 * i + 2 + h]);
      b.line[4 * i + 2 * h + 1] = _mm512_unpackhi_epi64(a.line[4 * i + h], a.line[4 * i + 2 + h]);
    }
  }
  // b.line[4 i + c]: in each quarter q, column 4 q + c of rows 4 i ... 4 i + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i low02 = _mm512_shuffle_i32x4(b.line[c], b.line[4 + c], 0x88);
    const __m512i low13 = _mm512_shuffle_i32x4(b.line[c], b.line[4 + c], 0xDD);
    const __m512i high02 = _mm512_shuffle_i32x4(b.line[8 + c], b.line[12 + c], 0x88);
    const __m512i high13 = _mm512_shuffle_i32x4(b.line[8 + c], b.line[12 + c], 0xDD);
    a.line[c] = _mm512_shuffle_i32x4(low02, high02, 0x88);
    a.line[8 + c] = _mm512_shuffle_i32x4(low02, high02, 0xDD);
    a.line[4 + c] = _mm512_shuffle_i32x4(low13, high13, 0x88);
    a.line[12 + c] = _mm512_shuffle_i32x4(low13, high13, 0xDD);
  }
  return a;
}

inline __attribute__((always_inline)) void store_square(const Square& s, char* out) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_store_si512(out + 64 * i, s.line[i]);
}

template <bool kTranspose, class T>
void pack_across(const BlockSource& s, int64_t i0, int64_t count, int64_t k0, int64_t kc, char* panel) {
  for (int64_t k = 0; k < kc; k += 32) {
    for (int64_t half = 0; half < 2; ++half, panel += 1024) {
      const T* src = static_cast<const T*>(s.data) + (i0 + 16 * half) * s.stride + k0 + k;
      const Square square = load_across(src, s.stride, count - 16 * half, kc - k);
      store_square(kTranspose ? transposed(square) : square, panel);
    }
  }
}

template <bool kTranspose>
void pack_along(const BlockSource& s, int64_t i0, int64_t count, int64_t k0, int64_t kc, char* panel) {
  const auto* data = static_cast<const float*>(s.data);
  for (int64_t k = 0; k < kc; k += 32) {
    for (int64_t half = 0; half < 2; ++half, panel += 1024) {
      const float* src = data + (k0 + k) * s.stride + i0 + 16 * half;
      const Square square = load_along(src, s.stride, count - 16 * half, kc - k);
      store_square(kTranspose ? transposed(square) : square, panel);
    }
  }
}

void pack_rows(const BlockSource& s, int64_t i, int64_t count, int64_t k, int64_t kc, void* panel) {
  char* out = static_cast<char*>(panel);
  if (s.along) return pack_along<true>(s, i, count, k, kc, out);
  if (s.bf16) return pack_across<false, uint16_t>(s, i, count, k, kc, out);
  pack_across<false, float>(s, i, count, k, kc, out);
}

void pack_pairs(const BlockSource& s, int64_t i, int64_t count, int64_t k, int64_t kc, void* panel) {
  char* out = static_cast<char*>(panel);
  if (s.along) return pack_along<false>(s, i, count, k, kc, out);
  if (s.bf16) return pack_across<true, uint16_t>(s, i, count, k, kc, out);
  pack_across<true, float>(s, i, count, k, kc, out);
}

// Hands out the lines of an Ahead in equal parts.
class Fetcher {
 public:
  inline __attribute__((always_inline)) Fetcher(const Ahead& a, int64_t turns)
      : row_(static_cast<const char*>(a.data)),
        at_(row_),
        stride_(a.stride),
        lines_((a.row_bytes + 63) / 64),
        left_(lines_),
        rest_(a.rows * lines_),
        each_(turns > 0 ? (rest_ + turns - 1) / turns : 0) {}
  inline __attribute__((always_inline)) void turn() {
    const int64_t count = rest_ < each_ ? rest_ : each_;
    rest_ -= count;
    for (int64_t i = 0; i < count; ++i, at_ += 64) {
      if (left_ == 0) {
        row_ += stride_;
        at_ = row_;
        left_ = lines_;
      }
      _mm_prefetch(at_, _MM_HINT_T1);
      --left_;
    }
  }

 private:
  const char *row_, *at_;
  int64_t stride_, lines_, left_, rest_, each_;
};

// 2 x 2 sums and two tiles of each factor are the eight registers. The panel of rows stays in the first-level cache;
// those of pairs stream from the second, which is what bounds the rate, so that a panel's depth is a compromise: the
// deeper, the rarer are the sums fetched and stored, until the panels of both factors no longer fit together.
void multiply(const void* rows, const void* pairs, int64_t count, int64_t steps, bool add, void* sums,
              const Ahead& next_rows, const Ahead& next_pairs) {
  Fetcher fetch_rows(next_rows, count * steps), fetch_pairs(next_pairs, count * steps);
  const char* b = static_cast<const char*>(pairs);
  char* c = static_cast<char*>(sums);
  for (int64_t panel = 0; panel < count; ++panel, c += 4096) {
    if (add) {
      _tile_loadd(0, c, 64);
      _tile_loadd(1, c + 1024, 64);
      _tile_loadd(2, c + 2048, 64);
      _tile_loadd(3, c + 3072, 64);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    const char* a = static_cast<const char*>(rows);
    const char* next = c + 4096;
    for (int64_t step = 0; step < steps; ++step, a += 2048, b += 2048, next += 512) {
#pragma GCC unroll 8
      for (int line = 0; line < 8; ++line) _mm_prefetch(next + 64 * line, _MM_HINT_T0);
      fetch_rows.turn();
      fetch_pairs.turn();
      _tile_stream_loadd(6, b, 64);
      _tile_loadd(4, a, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, a + 1024, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_stream_loadd(7, b + 1024, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, 64);
    _tile_stored(1, c + 1024, 64);
    _tile_stored(2, c + 2048, 64);
    _tile_stored(3, c + 3072, 64);
  }
}

void store(const void* sums, bool transpose, float alpha, const float* bias, bool add, int64_t m, int64_t n, float* c,
           int64_t c_stride) {
  const __m512 factor = _mm512_set1_ps(alpha);
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < 2; ++column) {
      const int64_t rows = m - 16 * row, columns = n - 16 * column;
      if (rows <= 0 || columns <= 0) continue;
      const char* tile = static_cast<const char*>(sums) + 1024 * (transpose ? 2 * column + row : 2 * row + column);
      Square s;
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) s.line[i] = _mm512_load_si512(tile + 64 * i);
      if (transpose) s = transposed(s);
      const __mmask16 mask = first(columns);
      const __m512 start = bias ? _mm512_maskz_loadu_ps(mask, bias + 16 * column) : _mm512_setzero_ps();
      float* out = c + 16 * row * c_stride + 16 * column;
      for (int64_t i = 0; i < 16 && i < rows; ++i, out += c_stride) {
        const __m512 old = add ? _mm512_maskz_loadu_ps(mask, out) : start;
        const __m512 value = _mm512_mul_ps(factor, reinterpret_cast<__m512>(s.line[i]));
        _mm512_mask_storeu_ps(out, mask, _mm512_add_ps(old, value));
      }
    }
  }
}

}  // namespace

extern const BlockKernels kBlocksAmxBf16;
const BlockKernels kBlocksAmxBf16 = {"amx_bf16", pack_rows, pack_pairs, multiply, store};

}  // namespace qz
#endif
