// AWQ (Lin et al. 2023, arXiv 2306.00978, section 3.2): columns that see large inputs are scaled up before rounding.
#pragma once
#include "transform/place.h"

namespace qz {

// s = a^r, or with duo scaling a^r / w^(1 - r), for `options.grid` ratios r from 0 to below 1, divided by the geometric
// mean of its extremes: the ratio with the least error (AutoAWQ 0.2.9, quantize/quantizer.py, _compute_best_scale). a:
// mean magnitude of the input; w: mean magnitude of the weights relative to the largest of their group. One difference:
// leaving the weights as they are is among the candidates, which the ratios of duo scaling do not contain.
Result<Scales> awq_scales(const Place& place, const TransformOptions& options);

}  // namespace qz
