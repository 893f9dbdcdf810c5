#include "kernels/gemm_tiles.h"

#include <algorithm>
#include <vector>

#include "base/checked.h"
#include "kernels/engines.h"
#include "kernels/scratch.h"

namespace qz {
namespace {

// A block of op(B), kDepth x kMaxCols floats = 512 KiB, is packed once and stays in the second-level cache while panels
// of op(A), packed into the first-level cache one by one, run over it.
constexpr int64_t kDepth = 256, kMaxCols = 512, kMaxRows = 1024;
// Tiles are halved until there are this many, for the balance between threads, but not below kMinSide, where packing
// would cost more than it saves.
constexpr int64_t kMinTasks = 16, kMinSide = 96;

struct Tile {
  int64_t i0, i1, j0, j1;
};

std::vector<Tile> grid(const Product& p, const GemmKernels& kernels) {
  int64_t rows = std::min(p.m, kMaxRows), cols = std::min(p.n, kMaxCols);
  const int64_t wanted = p.lower_only ? 2 * kMinTasks : kMinTasks;
  while (ceil_div(p.m, rows) * ceil_div(p.n, cols) < wanted && std::max(rows, cols) >= 2 * kMinSide) {
    int64_t& side = rows >= cols ? rows : cols;
    side = ceil_div(side, 2);
  }
  // Even shares, in whole panels.
  rows = round_up(ceil_div(p.m, ceil_div(p.m, rows)), kernels.mr);
  cols = round_up(ceil_div(p.n, ceil_div(p.n, cols)), kernels.nr);
  std::vector<Tile> tiles;
  for (int64_t i = 0; i < p.m; i += rows) {
    for (int64_t j = 0; j < p.n; j += cols) {
      const int64_t i1 = std::min(i + rows, p.m);
      if (p.lower_only && i1 - 1 < j) break;
      tiles.push_back({i, i1, j, std::min({j + cols, p.n, p.lower_only ? i1 : p.n})});
    }
  }
  return tiles;
}

// Elements [i, i + count) x [k, k + depth) into panels of `width`. rows: room for width * depth floats, for kFetch
// only.
void pack(const GemmKernels& kernels, const Factor& f, int64_t i, int64_t count, int64_t width, int64_t k,
          int64_t depth, float* rows, float* panels) {
  if (f.layout == Factor::Layout::kAlong) {
    return kernels.pack_along(f.data + k * f.stride + i, f.stride, count, width, depth, panels);
  }
  for (int64_t p = 0; p < count; p += width) {
    const int64_t n = std::min(width, count - p);
    const float* src = rows;
    int64_t stride = depth;
    if (f.layout == Factor::Layout::kAcross) {
      src = f.data + (i + p) * f.stride + k;
      stride = f.stride;
    } else {
      for (int64_t r = 0; r < n; ++r) f.weight->fetch(f.weight->self, i + p + r, k, k + depth, rows + r * depth);
    }
    kernels.pack_across(src, stride, n, width, depth, panels + p * depth);
  }
}

void initialize(const Product& p, const Tile& tile) {
  for (int64_t i = tile.i0; i < tile.i1; ++i) {
    float* row = p.c + i * p.c_stride;
    if (p.bias) {
      std::copy(p.bias + tile.j0, p.bias + tile.j1, row + tile.j0);
    } else {
      std::fill(row + tile.j0, row + tile.j1, 0.0f);
    }
  }
}

Status run_tile(const Product& p, const GemmKernels& kernels, const Tile& tile) {
  const int64_t mr = kernels.mr, nr = kernels.nr;
  const int64_t strips = ceil_div(tile.j1 - tile.j0, nr);
  // One panel of op(A) at a time; four where its k runs across rows, which would be read a few elements at a time.
  const int64_t group = (p.a.layout == Factor::Layout::kAlong ? 4 : 1) * mr;
  float* b_panels = thread_scratch(static_cast<size_t>(kDepth * (strips * nr + nr + group)));
  if (!b_panels) return error(Code::kOutOfMemory, "no memory for the panels of a matrix product");
  float* a_panels = b_panels + kDepth * strips * nr;
  float* rows = a_panels + kDepth * group;
  if (!p.accumulate) initialize(p, tile);
  for (int64_t k = 0; k < p.k; k += kDepth) {
    const int64_t depth = std::min(kDepth, p.k - k);
    pack(kernels, p.b, tile.j0, tile.j1 - tile.j0, nr, k, depth, rows, b_panels);
    for (int64_t start = tile.i0; start < tile.i1; start += group) {
      const int64_t end = std::min(start + group, tile.i1);
      pack(kernels, p.a, start, end - start, mr, k, depth, rows, a_panels);
      for (int64_t i = start; i < end; i += mr) {
        const int64_t m = std::min(mr, end - i);
        for (int64_t s = 0; s < strips; ++s) {
          const int64_t j = tile.j0 + s * nr;
          if (p.lower_only && i + m - 1 < j) break;
          kernels.tile(depth, a_panels + (i - start) * depth, b_panels + s * nr * depth, p.alpha, m,
                       std::min(nr, tile.j1 - j), p.c + i * p.c_stride + j, p.c_stride);
        }
      }
    }
  }
  return {};
}

}  // namespace

Status run_product(const Context& context, const Product& product, Progress* progress) {
  if (product.m == 0 || product.n == 0) return {};
  const GemmKernels& kernels = *engine().gemm;
  const std::vector<Tile> tiles = grid(product, kernels);
  return parallel_for(
      context, static_cast<uint32_t>(tiles.size()),
      [&](uint32_t index, uint32_t) { return run_tile(product, kernels, tiles[index]); }, progress);
}

}  // namespace qz
