// 16 small problems side by side: lane l of every vector belongs to problem l, so that no sum crosses lanes and every
// choice is made for all of them at once. One number per problem, in whatever registers the instruction set has; loops
// over them belong in a function with QZ_SIMD_CLONES, and what they call is QZ_LANES_INLINE.
#pragma once
#include <cstdint>

#include "base/simd.h"

namespace qz {

constexpr int kLanes = 16;

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

#define QZ_LANES_INLINE __attribute__((always_inline)) inline

// round_even() of each.
QZ_LANES_INLINE void round_lanes(Lanes* v) { *v = (*v + kRounder) - kRounder; }

// to[i][l] = from[l][i], i < n.
void gather_lanes(int64_t n, const float* const from[kLanes], Lanes* to);

}  // namespace qz
