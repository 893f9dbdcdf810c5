// For plain loops that the compiler vectorizes well: compile the function for several instruction sets, chosen when the
// library is loaded. -ffp-contract=off makes all of them give the same bits. Sanitizers cannot instrument the choosers,
// so they get one copy.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define QZ_SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define QZ_SIMD_CLONES
#endif

namespace qz {

// (v + it) - it is the nearest integer, ties to even, for |v| < 2^22: beside 1.5 * 2^23 a float32 has no fraction.
// std::nearbyint would be a call, which keeps a loop out of vectors.
constexpr float kRounder = 12582912.0f;
inline float round_even(float v) { return (v + kRounder) - kRounder; }

}  // namespace qz
