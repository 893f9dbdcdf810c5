#include "kernels/low_bit_blocks.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/checked.h"
#include "base/simd.h"
#include "kernels/engines.h"
#include "kernels/low_bit_columns.h"
#include "kernels/scratch.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// Of x, what stays in the second-level cache (2 MB and more where there are such kernels) while all weights run over
// it; but so many blocks at least that expanding the weights costs little beside multiplying them.
constexpr int64_t kNearBytes = 5 << 18, kLeastBlocks = 4;

int64_t steps_of(const TiledWeights& w, int64_t places) {
  int64_t steps = 0;
  for (size_t g = 1; g < w.starts.size(); ++g) steps += ceil_div(int64_t{w.starts[g] - w.starts[g - 1]}, places);
  return steps;
}

// Items of a row, by places and of `size` bytes, to its steps, `stride` bytes apart.
void lay_out_steps(const TiledWeights& w, const uint8_t* row, int64_t size, uint8_t* to, int64_t stride) {
  const int64_t places = 64 / size;
  for (size_t g = 1; g < w.starts.size(); ++g) {
    for (int64_t k = w.starts[g - 1]; k < w.starts[g]; k += places, to += stride) {
      if (w.starts[g] - k >= places) {
        std::memcpy(to, row + k * size, 64);
        continue;
      }
      const auto bytes = static_cast<size_t>((w.starts[g] - k) * size);
      std::memset(to, 0, 64);
      std::memcpy(to, row + k * size, bytes);
    }
  }
}

QZ_SIMD_CLONES
void add_row(const float* more, int64_t n, float* to) {
  for (int64_t i = 0; i < n; ++i) to[i] += more[i];
}

// What x becomes: every row in 64 bytes of each of `steps * parts` tiles.
struct Layout {
  int64_t rows, steps, parts;
  bool sums, factors;
  // Row i of x, whose tiles are `stride` bytes apart; its sums and factors are `columns` numbers apart.
  std::function<Status(int64_t i, uint8_t* tiles, int64_t stride, void* sums, float* factors, int64_t columns)> make;
  void (*multiply)(const TileView* w, const BlockedRows& x, void* scratch, float* out);
};

class BlockedProduct {
 public:
  BlockedProduct(const Context& context, const TiledWeights& w, const Layout& layout)
      : context_(context),
        w_(w),
        layout_(layout),
        blocks_(ceil_div(layout.rows, kMostBlockRows)),
        rows_(ceil_div(layout.rows, blocks_)),
        tile_bytes_(rows_ * 64),
        block_bytes_(layout.steps * layout.parts * tile_bytes_),
        numbers_(rows_ * w.groups()) {}

  Status run(const float* bias, bool accumulate, const MutableRows& y, Progress* progress) {
    const int64_t of_block = block_bytes_ / 4 + numbers_ * (layout_.sums + layout_.factors);
    x_ = shared_scratch(static_cast<size_t>(blocks_ * of_block));
    if (!x_) return error(Code::kOutOfMemory, "no memory for the inputs of a product");
    const auto prepare = [&](uint32_t block, uint32_t) { return lay_out(block); };
    if (blocks_ == 1) {
      QZ_TRY(prepare(0, 0));  // not worth waking the other threads
    } else {
      QZ_TRY(parallel_for(context_, static_cast<uint32_t>(blocks_), prepare, progress));
    }
    const int64_t across = ceil_div(w_.tiles(), kBlockTiles);
    const int64_t near = std::max<int64_t>(kNearBytes / (kLeastBlocks * block_bytes_), 1) * kLeastBlocks;
    const auto task = [&](uint32_t index, uint32_t) {
      const int64_t first = index / across * near;
      return multiply(first, std::min(first + near, blocks_), index % across * kBlockTiles, bias, accumulate, y);
    };
    return parallel_for(context_, static_cast<uint32_t>(ceil_div(blocks_, near) * across), task, progress);
  }

 private:
  uint8_t* tiles(int64_t block) const { return reinterpret_cast<uint8_t*>(x_) + block * block_bytes_; }
  float* sums(int64_t block) const { return x_ + blocks_ * block_bytes_ / 4 + block * numbers_; }
  float* factors(int64_t block) const { return sums(block) + (layout_.sums ? blocks_ * numbers_ : 0); }

  Status lay_out(int64_t block) const {
    for (int64_t r = 0; r < rows_; ++r) {
      const int64_t i = block * rows_ + r;
      if (i < layout_.rows) {
        QZ_TRY(layout_.make(i, tiles(block) + r * 64, tile_bytes_, sums(block) + r, factors(block) + r, rows_));
        continue;
      }
      // What fills up the last block is multiplied and not looked at.
      for (int64_t s = 0; s < layout_.steps * layout_.parts; ++s)
        std::memset(tiles(block) + s * tile_bytes_ + r * 64, 0, 64);
      for (int64_t g = 0; g < w_.groups(); ++g) {
        if (layout_.sums) sums(block)[g * rows_ + r] = 0;
        if (layout_.factors) factors(block)[g * rows_ + r] = 0;
      }
    }
    return {};
  }

  // Blocks [first, last) of x times the tiles from `tile` on.
  Status multiply(int64_t first, int64_t last, int64_t tile, const float* bias, bool accumulate,
                  const MutableRows& y) const {
    constexpr int64_t kOut = kMostBlocks * kMostBlockRows * kBlockColumns;
    float* scratch = thread_scratch(kBlockScratch / sizeof(float) + kOut);
    if (!scratch) return error(Code::kOutOfMemory, "no memory for a task of a product");
    float* out = scratch + kBlockScratch / sizeof(float);
    TileView views[kBlockTiles];  // past the end: the last one again
    for (int64_t t = 0; t < kBlockTiles; ++t) views[t] = w_.tile(std::min(tile + t, w_.tiles() - 1));
    for (int64_t block = first; block < last; block += kMostBlocks) {
      BlockedRows x;
      x.blocks = tiles(block), x.sums = sums(block), x.factors = factors(block);
      x.count = std::min(kMostBlocks, last - block), x.rows = rows_;
      x.steps = layout_.steps, x.parts = layout_.parts;
      layout_.multiply(views, x, scratch, out);
      const int64_t begin = block * rows_, end = std::min(begin + x.count * rows_, layout_.rows);
      for (int64_t i = begin; i < end; ++i)
        finish(i, tile * kTileRows, bias, accumulate, y, out + (i - begin) * kBlockColumns);
    }
    return {};
  }

  void finish(int64_t i, int64_t n, const float* bias, bool accumulate, const MutableRows& y, float* values) const {
    const int64_t columns = std::min(kBlockColumns, w_.rows - n);
    auto* to = static_cast<uint8_t*>(y.data) + (i * y.stride + n) * static_cast<int64_t>(dtype_bits(y.dtype) / 8);
    if (bias) add_row(bias + n, columns, values);
    if (accumulate) {
      float before[kBlockColumns];
      to_f32(to, y.dtype, static_cast<size_t>(columns), before);
      add_row(before, columns, values);
    }
    from_f32(values, y.dtype, static_cast<size_t>(columns), to);
  }

  const Context& context_;
  const TiledWeights& w_;
  const Layout& layout_;
  const int64_t blocks_, rows_, tile_bytes_, block_bytes_, numbers_;
  float* x_ = nullptr;
};

Status no_row() { return error(Code::kOutOfMemory, "no memory for a row of inputs"); }

}  // namespace

Status product_by_blocks(const Context& context, const TiledWeights& w, const Rows& x, const float* bias,
                         bool accumulate, const MutableRows& y, Progress* progress) {
  const int64_t places = w.places(), parts = parts_of(x);
  Layout layout{x.rows, steps_of(w, kPairPlaces),        parts, !w.offsets.empty(), false,
                {},     engine().low_bit_blocks->product};
  layout.make = [&](int64_t i, uint8_t* tiles, int64_t stride, void* sums, float*, int64_t columns) -> Status {
    const bool as_it_is = x.dtype == DType::kBF16 && w.order.empty() && places == x.cols;
    if (as_it_is) {
      lay_out_steps(w, static_cast<const uint8_t*>(x.data) + i * x.stride * 2, 2, tiles, stride);
      if (!layout.sums) return {};
    }
    float* row = thread_scratch(static_cast<size_t>(2 * places));
    if (!row) return no_row();
    row_by_places(w, x, i, row);
    if (layout.sums) sums_of_groups(w, row, columns, static_cast<float*>(sums));
    auto* part = reinterpret_cast<uint16_t*>(row + places);
    for (int64_t p = 0; p < parts && !as_it_is; ++p) {
      cut_part(row, places, part);
      lay_out_steps(w, reinterpret_cast<const uint8_t*>(part), 2, tiles + p * stride, parts * stride);
    }
    return {};
  };
  return BlockedProduct(context, w, layout).run(bias, accumulate, y, progress);
}

Status product_by_blocks(const Context& context, const TiledWeights& w, const ByteRows& x, const float* bias,
                         bool accumulate, const MutableRows& y, Progress* progress) {
  Layout layout{
      x.rows, steps_of(w, kBytePlaces), 1, !w.offsets.empty(), true, {}, engine().low_bit_blocks->product_bytes};
  layout.make = [&](int64_t i, uint8_t* tiles, int64_t stride, void* sums, float* factors, int64_t columns) -> Status {
    const int64_t places = w.places(), groups = w.groups();
    float* row = thread_scratch(static_cast<size_t>(places / 4 + groups));
    if (!row) return no_row();
    auto* bytes = reinterpret_cast<int8_t*>(row);
    auto* all_sums = reinterpret_cast<int32_t*>(row + places / 4);
    byte_row(w, x.codes + i * x.cols, bytes, layout.sums ? static_cast<int32_t*>(sums) : all_sums,
             layout.sums ? columns : 1);
    lay_out_steps(w, reinterpret_cast<const uint8_t*>(bytes), 1, tiles, stride);
    const float* factor = x.factors + i * x.factors_of_row;
    for (int64_t g = 0; g < groups; ++g) factors[g * columns] = factor[x.factors_of_row == 1 ? 0 : g];
    return {};
  };
  return BlockedProduct(context, w, layout).run(bias, accumulate, y, progress);
}

}  // namespace qz
