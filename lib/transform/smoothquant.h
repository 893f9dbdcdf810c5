// SmoothQuant (Xiao et al. 2022, arXiv 2211.10438, equation 4): what is hard to round in the inputs moves into the
// weights.
#pragma once
#include "transform/place.h"

namespace qz {

// s_j = max|x_j|^alpha / max|w_j|^(1 - alpha), at least 1e-5; columns without inputs or weights get 1. Searched: the
// alpha from 0.3 to 0.9 in steps of 0.1, or no scales at all, with the least error.
Result<Scales> smooth_scales(const Place& place, const TransformOptions& options);

}  // namespace qz
