// The small operations of a transformer block, in float32, row by row (single-threaded: callers split rows between
// workers).
#pragma once
#include <cstdint>

namespace qz {

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* out);  // x / rms(x) * weight
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                float* out);  // bias may be null

enum class Activation : int32_t { kSilu, kGelu, kGeluTanh, kRelu };
void activate(Activation kind, const float* x, int64_t n, float* out);                           // out = act(x)
void activate_gate(Activation kind, const float* gate, const float* up, int64_t n, float* out);  // out = act(gate) * up

// Rotates the first 2*half elements of a head in place, pairs (i, i + half) as Hugging Face lays them out.
void rope_rotate(float* head, int64_t half, const float* cos, const float* sin);

void softmax(float* x, int64_t n);              // in place; n >= 1
double log_sum_exp(const float* x, int64_t n);  // in float64

// Causal attention of one query head over one sequence's keys. q: [queries][head_dim] with stride q_stride; query i
// sits at absolute position first + i; keys and values: [first + queries][head_dim] with stride kv_stride. window = 0:
// all earlier positions; else only the last `window` positions, the query's own included. scratch: at least first +
// queries floats.
void attention_head(const float* q, int64_t q_stride, const float* k, const float* v, int64_t kv_stride, int64_t first,
                    int64_t queries, int64_t head_dim, float scale, int64_t window, float* scratch, float* out,
                    int64_t out_stride);

}  // namespace qz
