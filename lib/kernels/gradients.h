// Derivatives of the small operations in ops.h, row by row (single-threaded: callers split rows between workers).
#pragma once
#include <cstdint>

#include "kernels/ops.h"

namespace qz {

// dx += (d norm(x) / d x)^T dy; x is the norm's input. dx must not overlap the others.
void rms_norm_gradient(const float* x, const float* weight, float eps, int64_t n, const float* dy, float* dx);
void layer_norm_gradient(const float* x, const float* weight, float eps, int64_t n, const float* dy, float* dx);

// out = act'(x); out may be x. At 0, ReLU's is 0.
void activate_gradient(Activation kind, const float* x, int64_t n, float* out);

// p = softmax(x); dp becomes (d p / d x)^T dp = p * (dp - sum(p dp)).
void softmax_gradient(const float* p, int64_t n, float* dp);

}  // namespace qz
