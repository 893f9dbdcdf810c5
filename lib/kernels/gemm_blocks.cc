#include "kernels/gemm_blocks.h"

#include <algorithm>

#include "base/checked.h"
#include "kernels/amx.h"
#include "kernels/scratch.h"

namespace qz {
namespace {

// k that is packed and summed at a time, and rows or columns of each factor.
constexpr int64_t kSlabDepth = 4096, kSlabSide = 2048;
// Sides of a block of sums: 512 KiB of the second-level cache, beside 256 KiB of pairs and as much of the next ones.
constexpr int64_t kBlockRows = 256, kBlockPairs = 512, kLeastSide = 128;
// Blocks are made smaller until there are this many tasks for each thread.
constexpr int64_t kTasksPerThread = 4;

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

int64_t panels_of(int64_t side) { return ceil_div(side, kPanelSide); }
int64_t steps_of(int64_t kc) { return ceil_div(kc, kStepDepth); }

// One factor's packed part: for every kPanelDepth of k, the panels one after the other.
struct Slab {
  Range i, k;
  char* bytes;

  int64_t chunks() const { return ceil_div(k.size(), kPanelDepth); }
  Range chunk(int64_t c) const { return {k.begin + c * kPanelDepth, std::min(k.begin + (c + 1) * kPanelDepth, k.end)}; }
  char* panel(int64_t c, int64_t index) const {
    return bytes +
           (c * panels_of(i.size()) * (kPanelDepth / kStepDepth) + index * steps_of(chunk(c).size())) * kStepBytes;
  }
};
int64_t slab_bytes(int64_t side, int64_t depth) { return panels_of(side) * steps_of(depth) * kStepBytes; }

struct Block {
  const Product* product;
  Range rows, pairs;
};

// The two factors by what the registers want of them. A factor whose k runs along memory is packed as rows at the
// speed of a copy, the other kind as pairs; of two alike, the second is transposed on the way.
class BlockRun {
 public:
  BlockRun(const Context& context, const BlockKernels& kernels, const Product* products, size_t count,
           Progress* progress)
      : context_(context),
        kernels_(kernels),
        products_(products),
        count_(count),
        transposed_(products[0].b.layout != Factor::Layout::kAlong),
        progress_(progress) {}

  Status run() {
    const Product& p = products_[0];
    const Factor& pairs = transposed_ ? p.a : p.b;
    const int64_t side = transposed_ ? p.m : p.n;
    int64_t other = 0;
    for (size_t i = 0; i < count_; ++i) other = std::max(other, rows_side(products_[i]));
    // To pack rows that lie in memory each time that they are needed costs less than to write and read them again.
    const bool in_memory = rows(p).layout != Factor::Layout::kFetch || rows(p).bf16;
    packed_rows_ = !transposed_ || (side > kBlockPairs && !in_memory);
    const int64_t depth = std::min(p.k, kSlabDepth);
    const int64_t bytes = slab_bytes(std::min(side, kSlabSide), depth);
    const int64_t more = packed_rows_ ? slab_bytes(std::min(other, kSlabSide), depth) : 0;
    char* memory = reinterpret_cast<char*>(shared_scratch(static_cast<size_t>(bytes + more) / sizeof(float) + 1));
    if (!memory) return error(Code::kOutOfMemory, "no memory for the panels of a matrix product");
    for (int64_t i = 0; i < side; i += kSlabSide) {
      for (int64_t k = 0; k < std::max<int64_t>(p.k, 1); k += kSlabDepth) {
        const Slab slab = {{i, std::min(i + kSlabSide, side)}, {k, std::min(k + kSlabDepth, p.k)}, memory};
        QZ_TRY(pack(pairs, slab, false));
        for (size_t index = 0; index < count_; ++index) {
          QZ_TRY(run_product(products_[index], slab, memory + bytes));
        }
      }
    }
    return {};
  }

 private:
  const Factor& rows(const Product& p) const { return transposed_ ? p.b : p.a; }
  int64_t rows_side(const Product& p) const { return transposed_ ? p.n : p.m; }

  Status run_product(const Product& p, const Slab& pairs, char* memory) {
    const int64_t side = rows_side(p), step = packed_rows_ ? kSlabSide : side;
    for (int64_t i = 0; i < side; i += step) {
      const Slab rows_slab = {{i, std::min(i + step, side)}, pairs.k, packed_rows_ ? memory : nullptr};
      if (p.lower_only && rows_slab.i.end <= pairs.i.begin) continue;
      if (packed_rows_) QZ_TRY(pack(rows(p), rows_slab, true));
      const std::vector<Block> blocks = cut(p, rows_slab.i, pairs.i);
      QZ_TRY(parallel_for(
          context_, static_cast<uint32_t>(blocks.size()),
          [&](uint32_t index, uint32_t) { return run_block(blocks[index], rows_slab, pairs); }, progress_));
    }
    return {};
  }

  // Sums do not depend on how they are cut.
  std::vector<Block> cut(const Product& p, Range rows, Range pairs) const {
    const int64_t wanted = kTasksPerThread * context_.pool->threads();
    int64_t high = std::min(rows.size(), kBlockRows), wide = std::min(pairs.size(), kBlockPairs);
    while (ceil_div(rows.size(), high) * ceil_div(pairs.size(), wide) < wanted) {
      int64_t& longer = high >= wide ? high : wide;
      if (longer < 2 * kLeastSide) break;
      longer = ceil_div(longer, 2);
    }
    high = round_up(ceil_div(rows.size(), ceil_div(rows.size(), high)), kPanelSide);
    wide = round_up(ceil_div(pairs.size(), ceil_div(pairs.size(), wide)), kPanelSide);
    std::vector<Block> blocks;
    for (int64_t i = rows.begin; i < rows.end; i += high) {
      const Range range = {i, std::min(i + high, rows.end)};
      for (int64_t j = pairs.begin; j < pairs.end; j += wide) {
        if (p.lower_only && range.end <= j) break;
        blocks.push_back({&p, range, {j, std::min({j + wide, pairs.end, p.lower_only ? range.end : pairs.end})}});
      }
    }
    return blocks;
  }

  // (i ... i + count) x k of a factor into one panel; `floats`: room for kPanelSide rows of kPanelDepth, for kFetch.
  void pack_panel(const Factor& f, bool as_rows, int64_t i, int64_t count, Range k, float* floats, char* panel) const {
    BlockSource source = {f.data, f.stride, f.layout == Factor::Layout::kAlong, false};
    int64_t first = i, from = k.begin;
    if (f.bf16) {
      source = {f.bf16, f.stride, false, true};
    } else if (f.layout == Factor::Layout::kFetch) {
      for (int64_t r = 0; r < count; ++r) {
        f.weight->fetch(f.weight->self, i + r, k.begin, k.end, floats + r * kPanelDepth);
      }
      source = {floats, kPanelDepth, false, false};
      first = 0, from = 0;
    }
    (as_rows ? kernels_.pack_rows : kernels_.pack_pairs)(source, first, count, from, k.size(), panel);
  }

  Status pack(const Factor& f, const Slab& slab, bool as_rows) {
    // As far along memory as possible.
    const bool along = f.layout == Factor::Layout::kAlong;
    const int64_t together = along ? 16 : 1, deep = along ? 1 : 8;
    const int64_t panels = panels_of(slab.i.size()), across = ceil_div(panels, together);
    const auto task = [&](uint32_t index, uint32_t) -> Status {
      float* floats = nullptr;
      if (f.layout == Factor::Layout::kFetch) {
        floats = thread_scratch(kPanelSide * kPanelDepth);
        if (!floats) return error(Code::kOutOfMemory, "no memory for rows of a weight");
      }
      const int64_t begin = index % across * together, first = index / across * deep;
      for (int64_t panel = begin; panel < std::min(begin + together, panels); ++panel) {
        const int64_t i = slab.i.begin + panel * kPanelSide;
        for (int64_t c = first; c < std::min(first + deep, slab.chunks()); ++c) {
          pack_panel(f, as_rows, i, std::min(kPanelSide, slab.i.end - i), slab.chunk(c), floats, slab.panel(c, panel));
        }
      }
      return {};
    };
    return parallel_for(context_, static_cast<uint32_t>(across * ceil_div(slab.chunks(), deep)), task, progress_);
  }

  // Where the panel of rows from i on lies, or what it will be packed from.
  Ahead ahead(const Product& p, const Slab& slab, int64_t c, int64_t i, int64_t end) const {
    const Range k = slab.chunk(c);
    if (packed_rows_) {
      return {slab.panel(c, (i - slab.i.begin) / kPanelSide), 1, steps_of(k.size()) * kStepBytes, 0};
    }
    const Factor& f = rows(p);
    const int64_t count = std::min(kPanelSide, end - i);
    if (f.bf16) return {f.bf16 + i * f.stride + k.begin, count, 2 * k.size(), 2 * f.stride};
    if (f.layout == Factor::Layout::kAcross)
      return {f.data + i * f.stride + k.begin, count, 4 * k.size(), 4 * f.stride};
    return {};
  }

  // Where one of `parts` equal parts of a block's sums will go.
  Ahead results(const Block& block, int64_t part, int64_t parts) const {
    const Product& p = *block.product;
    const Range i = transposed_ ? block.pairs : block.rows, j = transposed_ ? block.rows : block.pairs;
    const int64_t begin = i.size() * part / parts, end = i.size() * (part + 1) / parts;
    return {p.c + (i.begin + begin) * p.c_stride + j.begin, end - begin, 4 * j.size(), 4 * p.c_stride};
  }

  Status run_block(const Block& block, const Slab& rows_slab, const Slab& pairs_slab) const {
    const Product& p = *block.product;
    const int64_t high = panels_of(block.rows.size()), wide = panels_of(block.pairs.size());
    const int64_t sum_floats = high * wide * kSumBytes / 4, panel_floats = kPanelDepth * kPanelSide / 2;
    float* memory = thread_scratch(static_cast<size_t>(sum_floats + panel_floats + kPanelSide * kPanelDepth));
    if (!memory) return error(Code::kOutOfMemory, "no memory for a block of a matrix product");
    char* const sums = reinterpret_cast<char*>(memory);
    char* const own = reinterpret_cast<char*>(memory + sum_floats);
    float* const floats = memory + sum_floats + panel_floats;
    // Panels wholly above the diagonal are left out.
    const auto used = [&](int64_t row) {
      const int64_t end = block.rows.begin + (row + 1) * kPanelSide;
      return p.lower_only ? std::clamp<int64_t>(panels_of(end - block.pairs.begin), 0, wide) : wide;
    };
    if (pairs_slab.chunks() == 0) std::fill_n(memory, sum_floats, 0.0f);
    {
      const AmxTiles tiles;
      const int64_t first = (block.pairs.begin - pairs_slab.i.begin) / kPanelSide;
      for (int64_t c = 0; c < pairs_slab.chunks(); ++c) {
        const Range k = pairs_slab.chunk(c);
        for (int64_t row = 0; row < high; ++row) {
          const int64_t i = block.rows.begin + row * kPanelSide;
          const char* panel = own;
          if (packed_rows_) {
            panel = rows_slab.panel(c, (i - rows_slab.i.begin) / kPanelSide);
          } else {
            pack_panel(rows(p), true, i, std::min(kPanelSide, block.rows.end - i), k, floats, own);
          }
          Ahead next_pairs;
          if (c + 1 < pairs_slab.chunks()) {
            const int64_t bytes = steps_of(pairs_slab.chunk(c + 1).size()) * kStepBytes;
            const int64_t begin = wide * row / high, end = wide * (row + 1) / high;
            next_pairs = {pairs_slab.panel(c + 1, first + begin), end - begin, bytes, bytes};
          } else {
            next_pairs = results(block, row, high);
          }
          const bool last = row + 1 == high;
          Ahead next_rows;
          if (!last || c + 1 < pairs_slab.chunks()) {
            next_rows = ahead(p, rows_slab, last ? c + 1 : c, last ? block.rows.begin : i + kPanelSide, block.rows.end);
          }
          kernels_.multiply(panel, pairs_slab.panel(c, first), used(row), steps_of(k.size()), c > 0,
                            sums + row * wide * kSumBytes, next_rows, next_pairs);
        }
      }
    }
    const bool add = p.accumulate || pairs_slab.k.begin > 0;
    // Along the rows of c.
    for (int64_t index = 0; index < high * wide; ++index) {
      const int64_t row = transposed_ ? index % high : index / wide, column = transposed_ ? index / high : index % wide;
      if (column < used(row)) {
        int64_t i = block.rows.begin + row * kPanelSide, j = block.pairs.begin + column * kPanelSide;
        int64_t m = std::min(kPanelSide, block.rows.end - i), n = std::min(kPanelSide, block.pairs.end - j);
        if (transposed_) std::swap(i, j), std::swap(m, n);
        kernels_.store(sums + (row * wide + column) * kSumBytes, transposed_, p.alpha, p.bias ? p.bias + j : nullptr,
                       add, m, n, p.c + i * p.c_stride + j, p.c_stride);
      }
    }
    return {};
  }

  const Context& context_;
  const BlockKernels& kernels_;
  const Product* const products_;
  const size_t count_;
  const bool transposed_;  // the rows are of b, the pairs of a
  bool packed_rows_ = true;
  Progress* const progress_;
};

}  // namespace

Status run_blocks(const Context& context, const BlockKernels& kernels, const Product* products, size_t count,
                  Progress* progress) {
  return BlockRun(context, kernels, products, count, progress).run();
}

size_t block_scratch(int64_t m, int64_t n, int64_t k) {
  const int64_t depth = std::min(k, kSlabDepth);
  return static_cast<size_t>(slab_bytes(std::min(m, kSlabSide), depth) + slab_bytes(std::min(n, kSlabSide), depth));
}

size_t block_task_scratch() {
  return static_cast<size_t>(4 * kBlockRows * kBlockPairs + 2 * kPanelSide * kPanelDepth +
                             4 * kPanelSide * kPanelDepth);
}

}  // namespace qz
