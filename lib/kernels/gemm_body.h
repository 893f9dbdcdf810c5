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

constexpr int64_t kMr = QZ_MR, kNv = QZ_NV, kNr = QZ_NV * QZ_LANES;
static_assert(kMr != kNr);

inline __attribute__((always_inline)) Vec load(const float* p) { return *reinterpret_cast<const VecU*>(p); }
inline __attribute__((always_inline)) void store(float* p, Vec v) { *reinterpret_cast<VecU*>(p) = v; }
inline __attribute__((always_inline)) Vec broadcast(float s) { return s - Vec{}; }

void tile(int64_t kc, const float* a, const float* b, float alpha, bool add, int64_t m, int64_t n, float* c,
          int64_t c_stride) {
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
        store(p, (add ? load(p) : Vec{}) + factor * sum[i][j]);
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
    for (int64_t j = 0; j < n; ++j) c[i * c_stride + j] = (add ? c[i * c_stride + j] : 0.0f) + edge[i * kNr + j];
  }
}

struct Square {
  Vec4 r0, r1, r2, r3;
};

inline __attribute__((always_inline)) Square transposed(const Square& s) {
  const Vec4 a = __builtin_shufflevector(s.r0, s.r1, 0, 4, 1, 5), b = __builtin_shufflevector(s.r0, s.r1, 2, 6, 3, 7);
  const Vec4 c = __builtin_shufflevector(s.r2, s.r3, 0, 4, 1, 5), d = __builtin_shufflevector(s.r2, s.r3, 2, 6, 3, 7);
  return {__builtin_shufflevector(a, c, 0, 1, 4, 5), __builtin_shufflevector(a, c, 2, 3, 6, 7),
          __builtin_shufflevector(b, d, 0, 1, 4, 5), __builtin_shufflevector(b, d, 2, 3, 6, 7)};
}

inline __attribute__((always_inline)) Vec4 load4(const float* p) { return *reinterpret_cast<const Vec4U*>(p); }
inline __attribute__((always_inline)) void store4(float* p, Vec4 v) { *reinterpret_cast<Vec4U*>(p) = v; }

// Four rows by four k.
inline __attribute__((always_inline)) void transpose4(const float* src, int64_t stride, float* dst, int64_t width) {
  const Square t = transposed({load4(src), load4(src + stride), load4(src + 2 * stride), load4(src + 3 * stride)});
  store4(dst, t.r0);
  store4(dst + width, t.r1);
  store4(dst + 2 * width, t.r2);
  store4(dst + 3 * width, t.r3);
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

inline __attribute__((always_inline)) Vec4 fold(Vec v) {
#if QZ_LANES == 16
  return (__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7)) +
         (__builtin_shufflevector(v, v, 8, 9, 10, 11) + __builtin_shufflevector(v, v, 12, 13, 14, 15));
#elif QZ_LANES == 8
  return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  return v;
#endif
}

// kRows x 4 dot products without packing, added to out: one vector of partial sums each, so that a product's bits do
// not depend on its neighbours.
template <int64_t kRows>
inline __attribute__((always_inline)) void add_dots(const float* x, int64_t x_stride, const float* w0, const float* w1,
                                                    const float* w2, const float* w3, int64_t count, int64_t n,
                                                    float* out, int64_t out_stride) {
  Vec sum[kRows][4];
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int64_t c = 0; c < 4; ++c) sum[r][c] = Vec{};
  }
  int64_t k = 0;
  for (; k + QZ_LANES <= n; k += QZ_LANES) {
    const Vec v0 = load(w0 + k), v1 = load(w1 + k), v2 = load(w2 + k), v3 = load(w3 + k);
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) {
      const Vec vx = load(x + r * x_stride + k);
      sum[r][0] = QZ_FMA(vx, v0, sum[r][0]);
      sum[r][1] = QZ_FMA(vx, v1, sum[r][1]);
      sum[r][2] = QZ_FMA(vx, v2, sum[r][2]);
      sum[r][3] = QZ_FMA(vx, v3, sum[r][3]);
    }
  }
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
    const Square t = transposed({fold(sum[r][0]), fold(sum[r][1]), fold(sum[r][2]), fold(sum[r][3])});
    Vec4 total = (t.r0 + t.r1) + (t.r2 + t.r3);
    for (int64_t i = k; i < n; ++i) total += x[r * x_stride + i] * Vec4{w0[i], w1[i], w2[i], w3[i]};
    for (int64_t c = 0; c < count; ++c) out[r * out_stride + c] += total[c];
  }
}

void dots(const float* x, int64_t x_stride, int64_t m, const float* w, int64_t w_stride, int64_t n, int64_t k,
          float* out, int64_t out_stride) {
  constexpr int64_t kRows = QZ_LANES == 16 ? 4 : 2;  // what the registers hold
  for (int64_t j = 0; j < n; j += 4) {
    const int64_t count = n - j < 4 ? n - j : 4;
    const float* w0 = w + j * w_stride;  // places past the last row repeat the first; nothing of them is stored
    const float* w1 = count > 1 ? w0 + w_stride : w0;
    const float* w2 = count > 2 ? w0 + 2 * w_stride : w0;
    const float* w3 = count > 3 ? w0 + 3 * w_stride : w0;
    int64_t i = 0;
    for (; i + kRows <= m; i += kRows) {
      add_dots<kRows>(x + i * x_stride, x_stride, w0, w1, w2, w3, count, k, out + i * out_stride + j, out_stride);
    }
    for (; i < m; ++i) {
      add_dots<1>(x + i * x_stride, x_stride, w0, w1, w2, w3, count, k, out + i * out_stride + j, out_stride);
    }
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
