// Which kernel takes a product, how it is cut, and how much scratch it needs: from shapes alone, so that the same
// request is always computed in the same way.
#pragma once
#include <algorithm>
#include <cstdint>

#include "args.h"
#include "packed/layout.h"
#include "swizzle.h"

namespace qz::cuda {

// Workspace: counters that every operation leaves at zero, then what the kernel at hand needs.
constexpr int64_t kMostStripes = 1 << 14;
constexpr uint64_t kCounterBytes = kMostStripes * 4;
constexpr uint64_t kSliceBytes = 24 << 20;       // of dequantized weights: they stay in the L2 cache of an A100 or H100
constexpr uint64_t kLibraryBytes = 32 << 20;     // for cuBLASLt, which advises as much for Hopper
constexpr int32_t kBlocksPerMultiprocessor = 2;  // of the stream kernel, by its registers

constexpr uint64_t aligned(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

enum class Kernel : int32_t { kStream, kRing, kWide, kDense };

// Which kernel takes how many tokens: the first row that fits. By what the kernels are made for, not measured.
struct KernelRow {
  int64_t most;
  Kernel kernel;
};
constexpr KernelRow kKernels[] = {
    {8, Kernel::kStream},
    {kRingTokens, Kernel::kRing},
    {1024, Kernel::kWide},
    {INT64_MAX, Kernel::kDense},
};

// The wide kernel is not measured beside cuBLASLt, which takes its products until then: a build that measures it, or
// wants it all the same, defines QZ_CUDA_WIDE.
#ifdef QZ_CUDA_WIDE
constexpr bool kTakesWide = true;
#else
constexpr bool kTakesWide = false;
#endif

// wide: whether the wide kernel may be taken.
constexpr Kernel kernel_for(int64_t m, bool wide) {
  for (const KernelRow& row : kKernels)
    if (m <= row.most && (row.kernel != Kernel::kWide || wide)) return row.kernel;
  return Kernel::kDense;
}

// Into how many shares the stream kernel cuts the columns: as many as fill the device in whole waves. The cost of s
// shares is the waves, each 1 / s of a stripe, and s more sums to write and read, about a brick each.
constexpr int32_t stream_splits(int64_t rows, int64_t cols, int32_t multiprocessors) {
  const int64_t stripes = bricks_of(rows), bricks = bricks_of(cols);
  const int64_t room = int64_t{std::max(multiprocessors, 1)} * kBlocksPerMultiprocessor;
  const int64_t most = std::clamp<int64_t>(bricks / 4, 1, 16);
  int64_t best = 1;
  double least = 0;
  for (int64_t s = 1; s <= most; ++s) {
    const auto waves = static_cast<double>((stripes * s + room - 1) / room);
    const double cost = waves * (static_cast<double>(bricks) / static_cast<double>(s) + (s > 1 ? 1 : 0));
    if (s == 1 || cost < least * 0.98) best = s, least = cost;
  }
  return stripes > kMostStripes ? 1 : static_cast<int32_t>(best);
}

constexpr uint64_t stream_workspace(int64_t rows, int64_t m, int32_t splits) {
  if (splits == 1) return 0;
  const uint64_t tokens = m <= 8 ? 8 : 16;
  return kCounterBytes + static_cast<uint64_t>(bricks_of(rows) * splits * kBrickSide) * tokens * sizeof(float);
}

// How the ring kernel cuts the columns: into `splits` shares for blocks, each into `parts` for a block's warps.
struct RingCut {
  int32_t splits = 1, parts = 2;
};

constexpr int32_t ring_tokens(int64_t m) { return m <= 16 ? 16 : m <= 32 ? 32 : kRingTokens; }
constexpr int64_t ring_rows(int32_t parts) { return kRingBricks / parts * kBrickSide; }

// Clocks of one step of a block: the slowest of device memory, the L2 cache and the matrix units, by what an H200 can
// do a clock and multiprocessor (18.6 and 24 bytes, 21 weights for 64 tokens with mma.sync). Calculated, not measured.
constexpr double ring_step_clocks(int32_t tokens, int32_t parts) {
  const double codes = kRingBricks * kBrickBytes, all = codes + parts * tokens * kTileRowBytes;
  const double weights = kRingBricks * kBrickSide * kBrickSide;
  return std::max({codes / 18.6, all / 24, weights * tokens / (64 * 21.0)});
}

constexpr RingCut ring_cut(int64_t rows, int64_t cols, int64_t m, int32_t multiprocessors) {
  constexpr double kFill = 1500, kVote = 1000;  // clocks until a ring is filled, and for the counter
  const int64_t bricks = bricks_of(cols);
  const int32_t tokens = ring_tokens(m);
  RingCut best;
  double least = 0;
  for (const int32_t parts : {2, 1}) {
    if (parts == 1 && tokens < kRingTokens) continue;
    const int64_t tiles = (rows + ring_rows(parts) - 1) / ring_rows(parts);
    const int64_t together = tokens == 16 ? 2 : 1;  // blocks of a multiprocessor
    const int64_t room = std::max(multiprocessors, 1) * together;
    const int64_t most = tiles > kMostStripes ? 1 : std::clamp<int64_t>(bricks / (2 * parts), 1, 16);
    for (int64_t s = 1; s <= most; ++s) {
      const auto waves = static_cast<double>((tiles * s + room - 1) / room);
      const auto steps = static_cast<double>((bricks + s * parts - 1) / (s * parts));
      // The last block of a tile adds the shares, 64 bytes a clock.
      const double tail = s > 1 ? kVote + static_cast<double>(s * ring_rows(parts) * tokens) * 4 / 64 : 0;
      const double cost =
          waves * (steps * ring_step_clocks(tokens, parts) * static_cast<double>(together) + kFill) + tail;
      if (least == 0 || cost < least * 0.98) best = {static_cast<int32_t>(s), parts}, least = cost;
    }
  }
  return best;
}

constexpr uint64_t ring_workspace(int64_t rows, int64_t m, const RingCut& cut) {
  if (cut.splits == 1) return 0;
  const int64_t tile = ring_rows(cut.parts), tiles = (rows + tile - 1) / tile;
  return kCounterBytes + static_cast<uint64_t>(tiles * cut.splits * tile * ring_tokens(m)) * sizeof(float);
}

// Of dequantized rows, in elements: 16-byte multiples are what fast kernels want.
constexpr int64_t dense_stride(int64_t cols) { return (cols + 7) / 8 * 8; }

// Rows of a slice, a multiple of 64.
constexpr int64_t dense_slice(int64_t rows, int64_t cols) {
  const int64_t fit = static_cast<int64_t>(kSliceBytes) / (dense_stride(cols) * 2) / kBrickSide * kBrickSide;
  return std::clamp<int64_t>(fit, kBrickSide, bricks_of(rows) * kBrickSide);
}

struct DenseSpace {
  uint64_t weights, sums, library, total;  // offsets of the parts; sums only with a bias
};
constexpr DenseSpace dense_workspace(int64_t rows, int64_t cols, int64_t m, bool bias) {
  const int64_t slice = dense_slice(rows, cols);
  DenseSpace s = {};
  s.weights = kCounterBytes;
  s.sums = s.weights + aligned(static_cast<uint64_t>(slice * dense_stride(cols)) * 2);
  s.library = s.sums + (bias ? aligned(static_cast<uint64_t>(slice * m) * sizeof(float)) : 0);
  s.total = s.library + kLibraryBytes;
  return s;
}

}  // namespace qz::cuda
