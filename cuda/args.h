// What a kernel is told, and its launchers. The launchers are in the .cu files; tests/cuda has others that run the same
// bodies on the host.
#pragma once
#include <cstdint>

#include "packed/layout.h"

namespace qz::cuda {

enum class Float : int32_t { kF32 = 1, kF16 = 2, kBF16 = 3 };  // equals qz_dtype
QZ_BOTH constexpr int64_t float_bytes(Float f) { return f == Float::kF32 ? 4 : 2; }

// A matrix in bricks (packed/layout.h) in device memory.
struct Weights {
  const uint32_t* codes;
  const void* scales;    // of `scale`, [stripes][groups][64]
  const uint8_t* zeros;  // nullptr: `zero` everywhere
  int32_t rows, cols, groups;
  int32_t group;  // columns; 0: the row
  int32_t zero;
  Float scale;
};

// out[r][c] for the rows of `stripes` stripes from `first_stripe`; out points at the first of them.
struct DequantizeArgs {
  Weights w;
  void* out;
  int64_t stride;  // of out's rows, in elements
  Float type;
  int32_t first_stripe, stripes;
};

// y = x w^T + bias for up to 64 tokens.
struct ProductArgs {
  Weights w;
  const uint16_t* x;  // [m][cols] of `type`, rows at multiples of 8 elements
  void* y;            // [m][rows] of `y_type`
  const float* bias;  // [rows] or nullptr
  float* partial;     // [blocks of rows][splits][tokens][rows of a block]; unused when splits is 1
  uint32_t* arrived;  // [blocks of rows], zero before and after
  int64_t x_stride, y_stride;
  int32_t m;
  int32_t splits;  // into how many blocks the columns are cut
  int32_t parts;   // of the ring kernel: into how many the warps of a block cut theirs, 1 or 2
  Float type, y_type;
};

constexpr int32_t kStreamWarps = 8;    // of a block
constexpr int32_t kStreamTokens = 16;  // at most
constexpr int32_t kRingTokens = 64;    // at most
constexpr int32_t kRingBricks = 4;     // of a stage: stripes times parts
constexpr int32_t kBrickBytes = kBrickWords * 4;

constexpr int32_t kColumnsWidth = 128;  // of a block of columns

// Columns [begin, begin + width) of GPTQ's loop, in the order of the factor, the last one first.
struct ColumnsArgs {
  const float* target;        // [rows][cols], group order
  const float* lower;         // [cols][cols], factor order: what is above the diagonal is not read
  const int32_t* order;       // [cols] place in group order of each factor index
  const float *scale, *zero;  // [rows][groups]
  const float* sums;          // [rows][kColumnsWidth]: what the solved columns' errors left; nullptr: none is solved
  uint8_t* codes;             // [rows][cols], group order
  float* errors;              // [rows][cols], factor order: targets minus what codes stand for
  int32_t rows, cols, groups, group, begin, width;
  float most;  // codes are 0 ... most
};

// y = sums + bias, rounded to y_type.
struct FinishArgs {
  const float* sums;  // [m][rows]
  const float* bias;  // [rows]
  void* y;
  int64_t y_stride;
  int32_t m, rows;
  Float y_type;
};

// 0, or a cudaError_t. They only enqueue.
int launch_dequantize(const DequantizeArgs& args, void* stream);
int launch_stream(const ProductArgs& args, void* stream);
int launch_ring(const ProductArgs& args, void* stream);
int launch_wide(const ProductArgs& args, void* stream);  // compute capability 9.0 alone
int launch_columns(const ColumnsArgs& args, void* stream);
int launch_finish(const FinishArgs& args, void* stream);

// Brings the kernels of a file to the current device, which otherwise happens at their first launch: too late in a
// stream that is being captured, because it may wait for the whole device.
int load_dequantize();
int load_stream();
int load_ring();
int load_wide();  // compute capability 9.0 alone
int load_columns();
int load_finish();

}  // namespace qz::cuda
