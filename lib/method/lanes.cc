#include "method/lanes.h"

namespace qz {

QZ_SIMD_CLONES
void gather_lanes(int64_t n, const float* const from[kLanes], Lanes* to) {
  for (int64_t i = 0; i < n; ++i)
    for (int l = 0; l < kLanes; ++l) to[i][l] = from[l][i];
}

}  // namespace qz
