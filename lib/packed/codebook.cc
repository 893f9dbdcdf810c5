#include "packed/codebook.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/simd.h"

namespace qz {
namespace {

// bitsandbytes, functional.py: get_4bit_type and the kernels' tables.
const std::vector<float> kNf4 = {-1.0f,
                                 -0.6961928009986877f,
                                 -0.5250730514526367f,
                                 -0.39491748809814453f,
                                 -0.28444138169288635f,
                                 -0.18477343022823334f,
                                 -0.09105003625154495f,
                                 0.0f,
                                 0.07958029955625534f,
                                 0.16093020141124725f,
                                 0.24611230194568634f,
                                 0.33791524171829224f,
                                 0.44070982933044434f,
                                 0.5626170039176941f,
                                 0.7229568362236023f,
                                 1.0f};
constexpr float kNf4Middles[15] = {
    -0.8480964004993439f,  -0.6106329262256622f,   -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f,
    -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f,   0.2035212516784668f,
    0.2920137718319893f,   0.3893125355243683f,    0.5016634166240692f,  0.6427869200706482f,   0.8614784181118011f};
const std::vector<float> kFp4 = {
    0.0f, 0.005208333333f,  0.66666667f,  1.0f,  0.33333333f,  0.5f,  0.16666667f,  0.25f,
    0.0f, -0.005208333333f, -0.66666667f, -1.0f, -0.33333333f, -0.5f, -0.16666667f, -0.25f};
constexpr float kFp4Middles[7] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f};

// E4M3: sign, 4 bits of exponent with bias 7, 3 of mantissa; no infinity, all ones is NaN.
std::vector<float> make_fp8() {
  std::vector<float> table(256);
  for (int code = 0; code < 128; ++code) {
    const int exponent = code >> 3, mantissa = code & 7;
    float v = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                            : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    if (code == 127) v = std::nanf("");
    table[static_cast<size_t>(code)] = v;
    table[static_cast<size_t>(code + 128)] = -v;
  }
  return table;
}

// Without a branch, so that loops over it become vectors; the same holds for the other two.
inline uint8_t nearest_fp8(float x) {
  const float most = 448, v = std::fabs(x) < most ? std::fabs(x) : most;
  uint32_t u;
  std::memcpy(&u, &v, 4);
  const uint32_t normal = ((u + 0x7FFFFu + (u >> 20 & 1)) >> 20) - (120u << 3);  // to even on the dropped 20 bits
  const uint32_t small = static_cast<uint32_t>(static_cast<int32_t>(round_even(v * 512)));
  const uint32_t sign = std::signbit(x) ? 128 : 0;
  return static_cast<uint8_t>(sign | (v < 0x1p-6f ? small : normal));
}

inline uint8_t nearest_nf4(float x) {
  int place = 0;
  for (const float middle : kNf4Middles) place += x > middle ? 1 : 0;
  return static_cast<uint8_t>(place);
}

inline uint8_t nearest_fp4(float x) {
  const float v = std::fabs(x);
  // Codes in the order of magnitudes are 0 1 6 7 4 5 2 3: what each middle adds.
  constexpr int kSteps[7] = {1, 5, 1, -3, 1, -3, 1};
  int code = 0;
  for (int k = 0; k < 7; ++k) code += v > kFp4Middles[k] ? kSteps[k] : 0;
  return static_cast<uint8_t>(code + (x < 0 && code != 0 ? 8 : 0));
}

QZ_SIMD_CLONES
void all_nf4(const float* x, int64_t n, float by, uint8_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = nearest_nf4(x[i] * by);
}

QZ_SIMD_CLONES
void all_fp4(const float* x, int64_t n, float by, uint8_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = nearest_fp4(x[i] * by);
}

QZ_SIMD_CLONES
void all_fp8(const float* x, int64_t n, float by, uint8_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = nearest_fp8(x[i] * by);
}

std::vector<float> make_dynamic_map() {
  // Each float operation rounds as torch's: linspace steps from both ends with one rounding per value.
  std::vector<float> map = {0.0f, 1.0f};
  for (int i = 0; i < 7; ++i) {
    const int n = (1 << i) + 1;
    const float low = 0.1f, step = (1.0f - low) / static_cast<float>(n - 1);
    const auto point = [&](int k) {
      return k < n / 2 ? std::fma(step, static_cast<float>(k), low)
                       : std::fma(-step, static_cast<float>(n - 1 - k), 1.0f);
    };
    const float power = static_cast<float>(std::pow(10.0, i - 6));
    for (int k = 0; k + 1 < n; ++k) {
      const float v = power * ((point(k) + point(k + 1)) / 2.0f);
      map.push_back(v);
      map.push_back(-v);
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}

}  // namespace

const std::vector<float>& codebook(CodeKind code) {
  static const std::vector<float> fp8 = make_fp8(), none;
  switch (code) {
    case CodeKind::kNf4:
      return kNf4;
    case CodeKind::kFp4:
      return kFp4;
    case CodeKind::kFp8:
      return fp8;
    default:
      return none;
  }
}

uint8_t nearest_in_codebook(CodeKind code, float x) {
  return code == CodeKind::kFp8 ? nearest_fp8(x) : code == CodeKind::kNf4 ? nearest_nf4(x) : nearest_fp4(x);
}

void nearest_in_codebook(CodeKind code, const float* x, int64_t n, float by, uint8_t* out) {
  (code == CodeKind::kFp8 ? all_fp8 : code == CodeKind::kNf4 ? all_nf4 : all_fp4)(x, n, by, out);
}

const std::vector<float>& dynamic_map() {
  static const std::vector<float> map = make_dynamic_map();
  return map;
}

uint8_t nearest_in_map(const std::vector<float>& map, float x) {
  const auto above = std::lower_bound(map.begin(), map.end(), x);
  if (above == map.begin()) return 0;
  const size_t high = static_cast<size_t>(above - map.begin());
  if (above == map.end()) return static_cast<uint8_t>(high - 1);
  return static_cast<uint8_t>(x - map[high - 1] <= map[high] - x ? high - 1 : high);
}

}  // namespace qz
