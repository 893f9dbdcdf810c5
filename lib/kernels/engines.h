// What one instruction set brings to the dense products: micro-kernels without allocation, threads or dispatch. The
// bodies are written once (gemm_body.h, ops_body.h) and compiled once per instruction set; engines.cc lists them best
// first.
#pragma once
#include <cstdint>

namespace qz {

enum class Products : int32_t;  // base/context.h

// A register tile and the packing that feeds it. A panel is [words][width] 32-bit words, a word being one float32 or a
// pair of bfloat16 (k even in the low half); the last panel and an odd k are padded with zeros, so that a tile needs no
// bounds. op(A) is packed mr wide, op(B) nr wide.
struct PanelKernels {
  const char* name;
  int64_t mr, nr;
  int64_t pair;  // k in a word: 1, or 2 for bfloat16
  int64_t words(int64_t kc) const { return (kc + pair - 1) / pair; }

  // From a source whose k runs along memory (element (i, k) at src[i * stride + k]): rows [0, count) into one panel of
  // `width` (mr or nr) columns, k in [0, kc).
  void (*pack_across)(const float* src, int64_t stride, int64_t count, int64_t width, int64_t kc, float* panel);
  // From a source whose k runs across rows (element (i, k) at src[k * stride + i]): count elements of i into as many
  // panels of `width` columns as they need, one panel after the other.
  void (*pack_along)(const float* src, int64_t stride, int64_t count, int64_t width, int64_t kc, float* panel);

  // c[i][j] = (add ? c[i][j] : 0) + alpha * sum_k a[k][i] * b[k][j] for i < m <= mr, j < n <= nr; k ascends, the sum
  // starts at 0.
  void (*tile)(int64_t kc, const float* a, const float* b, float alpha, bool add, int64_t m, int64_t n, float* c,
               int64_t c_stride);
};

struct GemmKernels : PanelKernels {
  // out[i][j] += sum_k x[i][k] * w[j][k] for i < m, j < n, from where they lie: the path for few rows, where packing
  // would not pay. An element's bits depend on its two rows alone.
  void (*dots)(const float* x, int64_t x_stride, int64_t m, const float* w, int64_t w_stride, int64_t n, int64_t k,
               float* out, int64_t out_stride);

  // out[j] = sum_i p[i] * rows[i * stride + j] for j < n, i < count ascending.
  void (*combine)(const float* p, const float* rows, int64_t stride, int64_t count, int64_t n, float* out);
};

// The element-wise operations and sums. Every engine gives the same bits: sums run in 16 lanes whatever the vector
// width.
struct OpsKernels {
  float (*max)(const float* x, int64_t n);  // n >= 1
  float (*exp_minus)(const float* x, float shift, int64_t n,
                     float* out);                                  // out = exp(x - shift); returns the sum of out
  double (*sum_exp_f64)(const float* x, double shift, int64_t n);  // sum of exp(x - shift), all in float64
  double (*sum_squares)(const float* x, double shift, int64_t n);  // sum of (x - shift)^2 in float64
  double (*sum)(const float* x, int64_t n);                        // in float64
  void (*silu)(const float* x, int64_t n, float* out);
  void (*gelu_tanh)(const float* x, int64_t n, float* out);
  void (*scale)(float* x, float factor, int64_t n);
};

struct BlockKernels;   // block_kernels.h
struct LowBitKernels;  // low_bit_kernels.h
struct LowBitPairKernels;
struct LowBitByteKernels;
struct LowBitBlockKernels;

struct Engine {
  // "avx512_amx" "avx512_bf16" "avx512_vnni" "avx512" "avx2" "neon_i8mm_bf16" "neon_dot" "neon" "ref"
  const char* name;
  bool (*available)();
  const char* needs;  // what `available` asks for, for people
  const GemmKernels* gemm;
  const OpsKernels* ops;
  const LowBitKernels* low_bit;
  const LowBitByteKernels* low_bit_bytes;
  const PanelKernels* fast;                // factors rounded to bfloat16, at twice the rate; null: no such instructions
  const LowBitPairKernels* low_bit_pairs;  // null: no such instructions
  const BlockKernels* blocks = nullptr;    // for such factors, where they are faster than panels
  const LowBitBlockKernels* low_bit_blocks = nullptr;  // for many rows of x; null: no such instructions
};

const Engine* engines(int* count);  // best first; "ref" is always the last and always available
const Engine& engine();             // the one in use
// The panels of the engine in use: for products that need not be exact bfloat16 where this CPU has it.
const PanelKernels& panels(Products products);
// Null: such products go through the panels.
const BlockKernels* blocks(Products products);

}  // namespace qz
