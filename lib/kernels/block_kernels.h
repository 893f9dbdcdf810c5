// What an instruction set with matrix registers brings to dense products with factors rounded to bfloat16: packing, and
// a product of packed panels, without allocation, threads or dispatch. gemm_blocks.cc drives them.
#pragma once
#include <cstdint>

namespace qz {

// A panel: 32 rows (or columns) x at most 256 k, padded with zeros to whole steps of 32 k; 2 KiB a step.
constexpr int64_t kPanelSide = 32, kPanelDepth = 256, kStepDepth = 32, kStepBytes = 2 * kPanelSide * kStepDepth;
constexpr int64_t kSumBytes = 4 * kPanelSide * kPanelSide;  // of the product of two panels, in float32

struct BlockSource {  // of one factor: element (i, k)
  const void* data = nullptr;
  int64_t stride = 0;
  bool along = false;  // at data[k * stride + i], float32; else at data[i * stride + k]
  bool bf16 = false;   // bfloat16 instead of float32
};

// What is wanted soon: rows of memory to bring to the second-level cache meanwhile. Tile loads do not set off the
// hardware's prefetcher.
struct Ahead {
  const void* data = nullptr;
  int64_t rows = 0, row_bytes = 0, stride = 0;  // in bytes
};

struct BlockKernels {
  const char* name;
  // (i ... i + count) x (k ... k + kc) into one panel, in the two ways that the two factors of a product need.
  void (*pack_rows)(const BlockSource& source, int64_t i, int64_t count, int64_t k, int64_t kc, void* panel);
  void (*pack_pairs)(const BlockSource& source, int64_t i, int64_t count, int64_t k, int64_t kc, void* panel);
  // One panel of rows by `count` panels of pairs that lie one after the other, as do the sums: sums = (add ? sums : 0)
  // + product, k ascending. The thread holds AmxTiles.
  void (*multiply)(const void* rows, const void* pairs, int64_t count, int64_t steps, bool add, void* sums,
                   const Ahead& next_rows, const Ahead& next_pairs);
  // c[i][j] = (add ? c[i][j] : bias ? bias[j] : 0) + alpha * sums for i < m, j < n. transpose: the panel of rows was of
  // columns of c.
  void (*store)(const void* sums, bool transpose, float alpha, const float* bias, bool add, int64_t m, int64_t n,
                float* c, int64_t c_stride);
};

}  // namespace qz
