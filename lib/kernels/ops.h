// The small operations of a transformer block, in float32, row by row (single-threaded: callers split rows between
// workers).
#pragma once
#include <cstdint>

#include "base/context.h"

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

// The same with pairs (2i, 2i + 1) (GPT-J, GLM, DeepSeek).
void rope_rotate_neighbours(float* head, int64_t half, const float* cos, const float* sin);

struct HeadShape {        // of one query head's attention
  int64_t dim = 0;        // of queries and keys
  int64_t value_dim = 0;  // of values and outputs
  float scale = 1;        // of q k
  float cap = 0;          // > 0: a score s becomes cap * tanh(s / cap)
  float slope = 0;        // added to the score of key j: slope * j (ALiBi, arXiv 2108.12409)
  int64_t window = 0;     // > 0: only the last `window` positions are seen, the query's own included
  bool causal = true;     // false: all keys are seen
  Products products = Products::kExact;
};

// score[j], of key `first` + j, with cap and slope; does nothing when the shape has neither.
void adjust_scores(const HeadShape& shape, int64_t first, int64_t count, float* score);

// Attention of one query head over one sequence's keys. q: [queries][dim] with stride q_stride; query i sits at
// absolute position first + i; keys: [first + queries][dim] with stride k_stride, values: [first + queries][value_dim]
// with stride v_stride. scratch: at least first + queries floats.
void attention_head(const HeadShape& shape, const float* q, int64_t q_stride, const float* k, int64_t k_stride,
                    const float* v, int64_t v_stride, int64_t first, int64_t queries, float* scratch, float* out,
                    int64_t out_stride);

}  // namespace qz
