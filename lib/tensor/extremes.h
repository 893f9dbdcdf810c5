// Smallest and largest of many numbers, none of which is NaN. Side by side in a fixed number of lanes: the compiler may
// not reorder comparisons of floats by itself.
#pragma once
#include <cstdint>

namespace qz {

// The largest magnitude, 0 of none.
float largest_magnitude(const float* v, int64_t n);
// Whether none is NaN or infinite; of any numbers.
bool all_finite(const float* v, int64_t n);
// Widens [*low, *high] to hold all of them.
void widen(const float* v, int64_t n, float* low, float* high);

}  // namespace qz
