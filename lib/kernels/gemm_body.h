// The micro-kernels of the dense products, written once. A file that includes this defines, before:
//   QZ_LANES          floats per vector: 4, 8 or 16
//   QZ_FMA(a, b, c)   a * b + c on Vec
//   QZ_MR, QZ_NV      rows of the register tile, and vectors per row
// Everything is in an unnamed namespace and includes nothing with shared inline functions: code compiled for a newer
// instruction set must not reach the linker under a name that another file also uses.
#include "kernels/engines.h"

namespace qz {
namespace {

typedef float Vec __attribute__((vector_size(4 * QZ_LANES)));
typedef float VecU __attribute__((vector_size(4 * QZ_LANES), aligned(4), may_alias));
typedef float Vec4U __attribute__((vector_size(16), aligned(4), may_alias));
typedef float Vec4 __attribute__((vector_size(16)));
typedef int Index4 __attribute__((vector_size(16)));

constexpr int64_t kMr = QZ_MR, kNv = QZ_NV, kNr = QZ_NV * QZ_LANES;
static_assert(kMr != kNr);

inline __attribute__((always_inline)) Vec load(const float* p) { return *reinterpret_cast<const VecU*>(p); }
inline __attribute__((always_inline)) void store(float* p, Vec v) { *reinterpret_cast<VecU*>(p) = v; }
inline __attribute__((always_inline)) Vec broadcast(float s) { return s - Vec{}; }

void tile(int64_t kc, const float* a, const float* b, float alpha, int64_t m, int64_t n, float* c, int64_t c_stride) {
  Vec sum[kMr][kNv];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kMr; ++i) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < kNv; ++j) sum[i][j] = Vec{};
  }
  for (int64_t i = 0; i < m; ++i) {  // c comes from far: ask for it now
#pragma GCC unroll 4
    for (int64_t j = 0; j < kNv; ++j) __builtin_prefetch(c + i * c_stride + j * QZ_LANES, 1);
  }
  for (int64_t k = 0; k < kc; ++k, a += kMr, b += kNr) {
    Vec vb[kNv];
#pragma GCC unroll 4
    for (int64_t j = 0; j < kNv; ++j) vb[j] = load(b + j * QZ_LANES);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kMr; ++i) {
      const Vec va = broadcast(a[i]);
#pragma GCC unroll 4
      for (int64_t j = 0; j < kNv; ++j) sum[i][j] = QZ_FMA(va, vb[j], sum[i][j]);
    }
  }
  const Vec factor = broadcast(alpha);
  if (m == kMr && n == kNr) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < kMr; ++i) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < kNv; ++j) {
        float* p = c + i * c_stride + j * QZ_LANES;
        store(p, load(p) + factor * sum[i][j]);
      }
    }
    return;
  }
  float edge[kMr * kNr];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kMr; ++i) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < kNv; ++j) store(edge + i * kNr + j * QZ_LANES, factor * sum[i][j]);
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) c[i * c_stride + j] += edge[i * kNr + j];
  }
}

// Four rows by four k, transposed in registers.
inline __attribute__((always_inline)) void transpose4(const float* src, int64_t stride, float* dst, int64_t width) {
  const Vec4 r0 = *reinterpret_cast<const Vec4U*>(src), r1 = *reinterpret_cast<const Vec4U*>(src + stride);
  const Vec4 r2 = *reinterpret_cast<const Vec4U*>(src + 2 * stride),
             r3 = *reinterpret_cast<const Vec4U*>(src + 3 * stride);
  const Vec4 a = __builtin_shuffle(r0, r1, Index4{0, 4, 1, 5}), b = __builtin_shuffle(r0, r1, Index4{2, 6, 3, 7});
  const Vec4 c = __builtin_shuffle(r2, r3, Index4{0, 4, 1, 5}), d = __builtin_shuffle(r2, r3, Index4{2, 6, 3, 7});
  *reinterpret_cast<Vec4U*>(dst) = __builtin_shuffle(a, c, Index4{0, 1, 4, 5});
  *reinterpret_cast<Vec4U*>(dst + width) = __builtin_shuffle(a, c, Index4{2, 3, 6, 7});
  *reinterpret_cast<Vec4U*>(dst + 2 * width) = __builtin_shuffle(b, d, Index4{0, 1, 4, 5});
  *reinterpret_cast<Vec4U*>(dst + 3 * width) = __builtin_shuffle(b, d, Index4{2, 3, 6, 7});
}

void pack_across(const float* src, int64_t stride, int64_t count, int64_t width, int64_t kc, float* panel) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const float* rows = src + i * stride;
    int64_t k = 0;
    for (; k + 4 <= kc; k += 4) transpose4(rows + k, stride, panel + k * width + i, width);
    for (; k < kc; ++k) {
      for (int64_t r = 0; r < 4; ++r) panel[k * width + i + r] = rows[r * stride + k];
    }
  }
  for (; i < count; ++i) {
    for (int64_t k = 0; k < kc; ++k) panel[k * width + i] = src[i * stride + k];
  }
  for (; i < width; ++i) {
    for (int64_t k = 0; k < kc; ++k) panel[k * width + i] = 0;
  }
}

// All whole panels in one pass over the source, so that each of its rows is read once, in order.
template <int64_t kWidth>
inline __attribute__((always_inline)) void copy_rows(const float* src, int64_t stride, int64_t panels, int64_t kc,
                                                     float* out) {
  for (int64_t k = 0; k < kc; ++k) {
    const float* row = src + k * stride;
    // The pieces are too short for the hardware's prefetcher to see that they repeat.
    for (int64_t i = 0; i < panels * kWidth; i += 16) __builtin_prefetch(row + 8 * stride + i);
    for (int64_t p = 0; p < panels; ++p) __builtin_memcpy(out + (p * kc + k) * kWidth, row + p * kWidth, 4 * kWidth);
  }
}

void pack_along(const float* src, int64_t stride, int64_t count, int64_t width, int64_t kc, float* panel) {
  const int64_t whole = count / width, rest = count % width;
  if (width == kMr) copy_rows<kMr>(src, stride, whole, kc, panel);
  if (width == kNr) copy_rows<kNr>(src, stride, whole, kc, panel);
  if (rest == 0) return;
  src += whole * width;
  panel += whole * width * kc;
  for (int64_t k = 0; k < kc; ++k) {
    for (int64_t i = 0; i < rest; ++i) panel[k * width + i] = src[k * stride + i];
    for (int64_t i = rest; i < width; ++i) panel[k * width + i] = 0;
  }
}

// The sums of the lanes of four vectors: folded to four lanes each, then transposed and added.
inline __attribute__((always_inline)) Vec4 lane_sums(const Vec (&v)[4]) {
  float lanes[4][QZ_LANES];
  Vec4 folded[4];
  for (int64_t c = 0; c < 4; ++c) {
    store(lanes[c], v[c]);
    folded[c] = *reinterpret_cast<const Vec4U*>(lanes[c]);
    for (int64_t l = 4; l < QZ_LANES; l += 4) folded[c] += *reinterpret_cast<const Vec4U*>(lanes[c] + l);
  }
  float turned[16];
  transpose4(reinterpret_cast<const float*>(folded), 4, turned, 4);
  const Vec4U* t = reinterpret_cast<const Vec4U*>(turned);
  return (t[0] + t[1]) + (t[2] + t[3]);
}

// kRows x 4 dot products without packing: one vector of partial sums each, so that a product's bits do not depend on
// its neighbours.
template <int64_t kRows>
inline __attribute__((always_inline)) void dots_of(const float* x, int64_t x_stride, const float* const (&w)[4],
                                                   int64_t n, float (&out)[kRows][4]) {
  Vec sum[kRows][4];
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int64_t c = 0; c < 4; ++c) sum[r][c] = Vec{};
  }
  int64_t k = 0;
  for (; k + QZ_LANES <= n; k += QZ_LANES) {
    Vec vx[kRows];
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) vx[r] = load(x + r * x_stride + k);
#pragma GCC unroll 4
    for (int64_t c = 0; c < 4; ++c) {
      const Vec vw = load(w[c] + k);
#pragma GCC unroll 4
      for (int64_t r = 0; r < kRows; ++r) sum[r][c] = QZ_FMA(vx[r], vw, sum[r][c]);
    }
  }
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
    *reinterpret_cast<Vec4U*>(out[r]) = lane_sums(sum[r]);
    for (int64_t c = 0; c < 4; ++c) {
      for (int64_t t = k; t < n; ++t) out[r][c] += x[r * x_stride + t] * w[c][t];
    }
  }
}

template <int64_t kRows>
inline __attribute__((always_inline)) void add_dots(const float* x, int64_t x_stride, const float* const (&w)[4],
                                                    int64_t count, int64_t k, float* out, int64_t out_stride) {
  float sums[kRows][4];
  dots_of<kRows>(x, x_stride, w, k, sums);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < count; ++c) out[r * out_stride + c] += sums[r][c];
  }
}

void dots(const float* x, int64_t x_stride, int64_t m, const float* w, int64_t w_stride, int64_t n, int64_t k,
          float* out, int64_t out_stride) {
  constexpr int64_t kRows = QZ_LANES == 16 ? 4 : 2;  // what the registers hold
  for (int64_t j = 0; j < n; j += 4) {
    const int64_t count = n - j < 4 ? n - j : 4;
    const float* rows[4];
    for (int64_t c = 0; c < 4; ++c) rows[c] = w + (j + (c < count ? c : 0)) * w_stride;
    int64_t i = 0;
    for (; i + kRows <= m; i += kRows) {
      add_dots<kRows>(x + i * x_stride, x_stride, rows, count, k, out + i * out_stride + j, out_stride);
    }
    for (; i < m; ++i) add_dots<1>(x + i * x_stride, x_stride, rows, count, k, out + i * out_stride + j, out_stride);
  }
}

void combine(const float* p, const float* rows, int64_t stride, int64_t count, int64_t n, float* out) {
  int64_t j = 0;
  for (; j + 4 * QZ_LANES <= n; j += 4 * QZ_LANES) {
    Vec sum[4] = {};
    for (int64_t i = 0; i < count; ++i) {
      const Vec weight = broadcast(p[i]);
#pragma GCC unroll 4
      for (int64_t u = 0; u < 4; ++u) sum[u] = QZ_FMA(weight, load(rows + i * stride + j + u * QZ_LANES), sum[u]);
    }
#pragma GCC unroll 4
    for (int64_t u = 0; u < 4; ++u) store(out + j + u * QZ_LANES, sum[u]);
  }
  for (; j + QZ_LANES <= n; j += QZ_LANES) {
    Vec sum = {};
    for (int64_t i = 0; i < count; ++i) sum = QZ_FMA(broadcast(p[i]), load(rows + i * stride + j), sum);
    store(out + j, sum);
  }
  for (; j < n; ++j) {
    float sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += p[i] * rows[i * stride + j];
    out[j] = sum;
  }
}

}  // namespace
}  // namespace qz
