// Random numbers that are a function of where they are used: no state, so the same on every machine, for any batch and
// any number of threads.
#pragma once
#include <cstdint>

namespace qz {

// One step of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
inline uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// Counter-based: number `counter` of stream `stream` under `seed`, in [0, 1), a multiple of 2^-53.
inline double uniform(uint64_t seed, uint64_t stream, uint64_t counter) {
  const uint64_t bits = splitmix64(splitmix64(splitmix64(seed) + stream) + counter);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace qz
