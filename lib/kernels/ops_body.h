// Element-wise operations and sums, written once; included after gemm_body.h, whose vector type it uses. Only + - * /
// and comparisons, never a fused multiply-add, and sums in 16 lanes: every instruction set gives the same bits.
namespace qz {
namespace {

typedef int VecI __attribute__((vector_size(4 * QZ_LANES)));
typedef double VecD __attribute__((vector_size(4 * QZ_LANES)));
typedef long long VecL __attribute__((vector_size(4 * QZ_LANES)));
typedef float Half __attribute__((vector_size(2 * QZ_LANES)));
typedef float HalfU __attribute__((vector_size(2 * QZ_LANES), aligned(4), may_alias));

constexpr int64_t kSumLanes = 16, kSlots = kSumLanes / QZ_LANES, kSlotsD = 2 * kSlots, kLanesD = QZ_LANES / 2;

// exp to 1e-7: x = n ln 2 + r, |r| <= ln 2 / 2, Taylor's series to r^7 (remainder 5e-9), times 2^n through the exponent
// bits. ln 2 in two parts, the first with few enough bits that n times it is exact. Below -87.3 (subnormal results): 0.
// From 88.4 on: infinity. NaN stays NaN.
inline __attribute__((always_inline)) Vec exp_vec(Vec x) {
  constexpr float kLowest = -87.3f, kHighest = 88.7f,
                  kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  Vec y = x < kLowest ? broadcast(kLowest) : x;
  y = y > kHighest ? broadcast(kHighest) : y;
  const Vec shifted = y * 1.44269504f + kMagic;
  const Vec n = shifted - kMagic;
  const Vec r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
  Vec p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  const VecI power = (reinterpret_cast<VecI>(shifted) << 23) + 0x3F800000;  // the magic's own bits leave on the left
  const Vec result = p * reinterpret_cast<Vec>(power);
  return x < kLowest ? Vec{} : result;
}

// The same in float64 with the series to r^13 (remainder 4e-18); 0 below -708, for arguments <= 0 only.
inline __attribute__((always_inline)) VecD exp_vec_f64(VecD x) {
  constexpr double kLowest = -708.0, kMagic = 6755399441055744.0;  // 1.5 * 2^52
  const VecD lowest = kLowest - VecD{};
  const VecD y = x < kLowest ? lowest : x;
  const VecD shifted = y * 1.4426950408889634 + kMagic;
  const VecD n = shifted - kMagic;
  const VecD r = (y - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  VecD p = r * (1.0 / 6227020800) + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r * r + r + 1.0;
  const VecL power = (reinterpret_cast<VecL>(shifted) << 52) + 0x3FF0000000000000LL;
  const VecD result = p * reinterpret_cast<VecD>(power);
  return x < kLowest ? VecD{} : result;
}

inline __attribute__((always_inline)) VecD load_f64(const float* p) {
  return __builtin_convertvector(static_cast<Half>(*reinterpret_cast<const HalfU*>(p)), VecD);
}

// The sum of kSumLanes lanes that lie in several vectors: halves are added until one is left, first whole vectors, then
// the halves of one. The order is the same for every vector width.
template <class T, class V, int64_t kCount>
inline __attribute__((always_inline)) T add_lanes(const V (&slots)[kCount]) {
  V sums[kCount];
  for (int64_t s = 0; s < kCount; ++s) sums[s] = slots[s];
#pragma GCC unroll 4
  for (int64_t half = kCount / 2; half > 0; half /= 2) {
#pragma GCC unroll 4
    for (int64_t s = 0; s < half; ++s) sums[s] += sums[s + half];
  }
  V v = sums[0];
  constexpr int64_t kLanes = sizeof(V) / sizeof(T);
  if constexpr (kLanes == 16) v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  if constexpr (kLanes == 16) v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
  if constexpr (kLanes == 8) v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
  if constexpr (kLanes == 2) {
    return v[0] + v[1];
  } else {
    return (v[0] + v[2]) + (v[1] + v[3]);
  }
}

// The last n < kSumLanes elements, filled up with a value that does not change the result.
struct Tail {
  float values[kSumLanes];
  Tail(const float* x, int64_t n, float fill) {
    for (int64_t i = 0; i < kSumLanes; ++i) values[i] = i < n ? x[i] : fill;
  }
};

float max_of(const float* x, int64_t n) {
  float best = x[0];
  int64_t i = 0;
  if (n >= QZ_LANES) {
    Vec lanes = load(x);
    for (i = QZ_LANES; i + QZ_LANES <= n; i += QZ_LANES) {
      const Vec v = load(x + i);
      lanes = v > lanes ? v : lanes;
    }
    for (int64_t l = 0; l < QZ_LANES; ++l) best = lanes[l] > best ? lanes[l] : best;
  }
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

float exp_minus(const float* x, float shift, int64_t n, float* out) {
  double total = 0;
  for (int64_t start = 0; start < n; start += 1024) {  // short float32 sums, added up in float64
    const int64_t end = start + 1024 < n ? start + 1024 : n;
    Vec sum[kSlots] = {};
    int64_t i = start;
    for (; i + kSumLanes <= end; i += kSumLanes) {
      for (int64_t s = 0; s < kSlots; ++s) {
        const Vec e = exp_vec(load(x + i + s * QZ_LANES) - shift);
        store(out + i + s * QZ_LANES, e);
        sum[s] += e;
      }
    }
    if (i < end) {
      Tail tail(x + i, end - i, -__builtin_inff());
      for (int64_t s = 0; s < kSlots; ++s) {
        const Vec e = exp_vec(load(tail.values + s * QZ_LANES) - shift);
        store(tail.values + s * QZ_LANES, e);
        sum[s] += e;
      }
      for (int64_t l = 0; i + l < end; ++l) out[i + l] = tail.values[l];
    }
    total += static_cast<double>(add_lanes<float>(sum));
  }
  return static_cast<float>(total);
}

double sum_exp_f64(const float* x, double shift, int64_t n) {
  VecD sum[kSlotsD] = {};
  int64_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (int64_t s = 0; s < kSlotsD; ++s) sum[s] += exp_vec_f64(load_f64(x + i + s * kLanesD) - shift);
  }
  if (i < n) {
    const Tail tail(x + i, n - i, -__builtin_inff());
    for (int64_t s = 0; s < kSlotsD; ++s) sum[s] += exp_vec_f64(load_f64(tail.values + s * kLanesD) - shift);
  }
  return add_lanes<double>(sum);
}

double sum_squares(const float* x, double shift, int64_t n) {
  VecD sum[kSlotsD] = {};
  int64_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (int64_t s = 0; s < kSlotsD; ++s) {
      const VecD d = load_f64(x + i + s * kLanesD) - shift;
      sum[s] += d * d;
    }
  }
  double total = add_lanes<double>(sum);
  for (; i < n; ++i) {
    const double d = static_cast<double>(x[i]) - shift;
    total += d * d;
  }
  return total;
}

double sum_of(const float* x, int64_t n) {
  VecD sum[kSlotsD] = {};
  int64_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (int64_t s = 0; s < kSlotsD; ++s) sum[s] += load_f64(x + i + s * kLanesD);
  }
  double total = add_lanes<double>(sum);
  for (; i < n; ++i) total += static_cast<double>(x[i]);
  return total;
}

inline __attribute__((always_inline)) Vec silu_vec(Vec x) { return x / (exp_vec(-x) + 1.0f); }

// 0.5 x (1 + tanh u) = x / (1 + exp(-2u)) with u = sqrt(2/pi) (x + 0.044715 x^3).
inline __attribute__((always_inline)) Vec gelu_tanh_vec(Vec x) {
  const Vec u2 = (x + x * x * x * 0.044715f) * 1.5957691216057308f;
  return x / (exp_vec(-u2) + 1.0f);
}

template <Vec (*kFunction)(Vec)>
inline __attribute__((always_inline)) void map(const float* x, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + QZ_LANES <= n; i += QZ_LANES) store(out + i, kFunction(load(x + i)));
  if (i < n) {
    Tail tail(x + i, n - i, 0);
    store(tail.values, kFunction(load(tail.values)));
    for (int64_t l = 0; i + l < n; ++l) out[i + l] = tail.values[l];
  }
}

void silu(const float* x, int64_t n, float* out) { map<silu_vec>(x, n, out); }
void gelu_tanh(const float* x, int64_t n, float* out) { map<gelu_tanh_vec>(x, n, out); }

void scale(float* x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace
}  // namespace qz
