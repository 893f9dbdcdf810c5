// 16 small problems side by side: lane l of every vector belongs to problem l, so that no sum crosses lanes and every
// choice is made for all of them at once. One number per problem, in whatever registers the instruction set has; loops
// over them belong in a function with QZ_SIMD_CLONES, and what they call is QZ_LANES_INLINE.
#pragma once
#include <cstdint>

#include "base/simd.h"

namespace qz {

constexpr int kLanes = 16;

#define QZ_LANES_INLINE __attribute__((always_inline)) inline

// Half of them: as wide as every instruction set since AVX2 has it. What is wider than an instruction set's registers
// GCC 12 compares one number after another.
typedef float HalfLanes __attribute__((vector_size(kLanes / 2 * sizeof(float))));
typedef int32_t HalfMask __attribute__((vector_size(kLanes / 2 * sizeof(int32_t))));

struct LaneMask {
  HalfMask low, high;  // -1: holds
};

struct alignas(kLanes * sizeof(float)) Lanes {
  HalfLanes low, high;

  Lanes() = default;
  QZ_LANES_INLINE Lanes(const HalfLanes& l, const HalfLanes& h) : low(l), high(h) {}
  // By way of memory: of a vector that is made outside of a function with QZ_SIMD_CLONES GCC 12 inserts each number.
  QZ_LANES_INLINE Lanes(float v) {  // NOLINT: a number is all lanes
    float all[kLanes / 2];
    for (float& one : all) one = v;
    __builtin_memcpy(&low, all, sizeof low);
    high = low;
  }

  float& operator[](int lane) { return reinterpret_cast<float*>(this)[lane]; }
  float operator[](int lane) const { return reinterpret_cast<const float*>(this)[lane]; }

  QZ_LANES_INLINE friend Lanes operator-(const Lanes& a) { return {-a.low, -a.high}; }
  QZ_LANES_INLINE friend Lanes operator+(const Lanes& a, const Lanes& b) { return {a.low + b.low, a.high + b.high}; }
  QZ_LANES_INLINE friend Lanes operator-(const Lanes& a, const Lanes& b) { return {a.low - b.low, a.high - b.high}; }
  QZ_LANES_INLINE friend Lanes operator*(const Lanes& a, const Lanes& b) { return {a.low * b.low, a.high * b.high}; }
  QZ_LANES_INLINE friend Lanes operator/(const Lanes& a, const Lanes& b) { return {a.low / b.low, a.high / b.high}; }
  QZ_LANES_INLINE friend void operator+=(Lanes& a, const Lanes& b) { a = a + b; }
  QZ_LANES_INLINE friend void operator-=(Lanes& a, const Lanes& b) { a = a - b; }
  QZ_LANES_INLINE friend LaneMask operator<(const Lanes& a, const Lanes& b) { return {a.low < b.low, a.high < b.high}; }
  QZ_LANES_INLINE friend LaneMask operator>(const Lanes& a, const Lanes& b) { return b < a; }
  QZ_LANES_INLINE friend LaneMask operator==(const Lanes& a, const Lanes& b) {
    return {a.low == b.low, a.high == b.high};
  }
  QZ_LANES_INLINE friend LaneMask operator!=(const Lanes& a, const Lanes& b) {
    return {a.low != b.low, a.high != b.high};
  }
};

// a where the mask holds, else b.
QZ_LANES_INLINE Lanes pick(const LaneMask& mask, const Lanes& a, const Lanes& b) {
  return {mask.low ? a.low : b.low, mask.high ? a.high : b.high};
}

// round_even() of each.
QZ_LANES_INLINE void round_lanes(Lanes* v) { *v = (*v + kRounder) - kRounder; }

// to[i][l] = from[l][i], i < n.
void gather_lanes(int64_t n, const float* const from[kLanes], Lanes* to);

}  // namespace qz
