#include "kernels/gemm_tiles.h"

#include <algorithm>
#include <vector>

#include "base/checked.h"
#include "kernels/engines.h"
#include "kernels/gemm_blocks.h"
#include "kernels/scratch.h"

namespace qz {
namespace {

// Words of k in one pass of the register tile.
constexpr int64_t kDepth = 256;
// Columns of op(B) under one pass: kDepth x kMaxCols words = 512 KiB stay in the second-level cache while the panels of
// op(A), which stay in the first-level cache one by one, run over them.
constexpr int64_t kMaxCols = 512;
// Rows of op(A) that one task packs for itself.
constexpr int64_t kMaxRows = 192;
// op(B) is packed once for all tasks, this many words (8 MiB) at a time.
constexpr int64_t kSharedWords = int64_t{2} << 20;
// Tasks are made smaller until there are this many, for the balance between threads, but never below kWorkOfTask
// multiplications or kMinSide columns, where they would cost more than they save.
constexpr int64_t kMinTasks = 16, kMinSide = 96, kWorkOfTask = 1 << 20;

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

struct Tile {
  const Product* product;
  Range i, j;
};

// The part of op(B) that is packed at a time: columns x k, and its panels: for every block of kDepth words, the strips
// of nr columns one after the other, each [words][nr].
struct Slab {
  Range j, k;
  int64_t depth;  // k of a block
  int64_t cols;   // j.size() in whole strips
  float* words;

  Range block(int64_t index) const { return {k.begin + index * depth, std::min(k.begin + (index + 1) * depth, k.end)}; }
  int64_t blocks() const { return ceil_div(k.size(), depth); }
  float* strip(int64_t index, int64_t column, int64_t block_words) const {
    return words + index * kDepth * cols + (column - j.begin) * block_words;
  }
};

// Columns, and words of k, that are packed at a time.
struct SlabSize {
  int64_t wide, deep;
};
SlabSize slab_size(const PanelKernels& kernels, int64_t n, int64_t k) {
  const int64_t all = round_up(ceil_div(k, kernels.pair), kDepth);
  const int64_t wide =
      std::min(round_up(n, kernels.nr), round_up(std::max(kMaxCols, kSharedWords / std::max(all, kDepth)), kernels.nr));
  return {wide, std::min(all, kSharedWords / wide / kDepth * kDepth)};
}
size_t slab_floats(const PanelKernels& kernels, int64_t n, int64_t k) {
  const SlabSize size = slab_size(kernels, n, k);
  return static_cast<size_t>(size.wide * std::max(size.deep, kDepth));
}

class ProductRun {
 public:
  ProductRun(const Context& context, const Product* products, size_t count, Progress* progress)
      : context_(context),
        products_(products),
        count_(count),
        p_(products[0]),
        kernels_(panels(p_.products)),
        progress_(progress) {}

  Status run() {
    const int64_t depth = kDepth * kernels_.pair;
    const auto [wide, deep_words] = slab_size(kernels_, p_.n, p_.k);
    const int64_t deep = deep_words * kernels_.pair;
    float* words = shared_scratch(slab_floats(kernels_, p_.n, p_.k));
    if (!words) return error(Code::kOutOfMemory, "no memory for the panels of a matrix product");
    for (int64_t j = 0; j < p_.n; j += wide) {
      const Range columns{j, std::min(j + wide, p_.n)};
      if (p_.k == 0) {
        for (size_t i = 0; i < count_; ++i) {
          if (!products_[i].accumulate) initialize({&products_[i], {0, products_[i].m}, columns});
        }
      }
      for (int64_t k = 0; k < p_.k; k += deep) {
        QZ_TRY(run_slab({columns, {k, std::min(k + deep, p_.k)}, depth, round_up(columns.size(), kernels_.nr), words}));
      }
    }
    return {};
  }

 private:
  Status run_slab(const Slab& slab) {
    const int64_t width = 4 * kernels_.nr, across = ceil_div(slab.j.size(), width), count = across * slab.blocks();
    const auto pack_some = [&](uint32_t index, uint32_t) -> Status {
      const int64_t column = slab.j.begin + index % across * width;
      return pack_b(slab, index / across, {column, std::min(column + width, slab.j.end)});
    };
    // A small part is not worth waking the other threads.
    if (slab.j.size() * slab.k.size() <= (1 << 14)) {
      for (int64_t i = 0; i < count; ++i) QZ_TRY(pack_some(static_cast<uint32_t>(i), 0));
    } else {
      QZ_TRY(parallel_for(context_, static_cast<uint32_t>(count), pack_some, progress_));
    }
    std::vector<Tile> tiles;
    for (size_t i = 0; i < count_; ++i) add_tiles(products_[i], slab, &tiles);
    return parallel_for(
        context_, static_cast<uint32_t>(tiles.size()),
        [&](uint32_t index, uint32_t) { return run_tile(slab, tiles[index]); }, progress_);
  }

  void add_tiles(const Product& p, const Slab& slab, std::vector<Tile>* tiles) const {
    const int64_t n = slab.j.size(), least = 4 * kernels_.mr;
    const int64_t wanted =
        std::clamp(p.m * n * slab.k.size() / kWorkOfTask, int64_t{1}, p.lower_only ? 2 * kMinTasks : kMinTasks);
    int64_t rows = std::min(p.m, kMaxRows), cols = n;
    while (ceil_div(p.m, rows) * ceil_div(n, cols) < wanted) {
      if (rows > least) {
        rows = std::max(least, ceil_div(rows, 2));
      } else if (cols >= 2 * kMinSide) {
        cols = ceil_div(cols, 2);
      } else {
        break;
      }
    }
    // Even shares, in whole panels.
    rows = round_up(ceil_div(p.m, ceil_div(p.m, rows)), kernels_.mr);
    cols = round_up(ceil_div(n, ceil_div(n, cols)), kernels_.nr);
    for (int64_t i = 0; i < p.m; i += rows) {
      const Range range{i, std::min(i + rows, p.m)};
      for (int64_t j = slab.j.begin; j < slab.j.end; j += cols) {
        if (p.lower_only && range.end - 1 < j) break;
        tiles->push_back({&p, range, {j, std::min({j + cols, slab.j.end, p.lower_only ? range.end : slab.j.end})}});
      }
    }
  }

  // Elements i x k of a factor into panels of `width`, one after the other. rows: room for width rows of k floats, for
  // kFetch only.
  void pack(const Factor& f, Range i, int64_t width, Range k, float* rows, float* panels) const {
    if (f.layout == Factor::Layout::kAlong) {
      return kernels_.pack_along(f.data + k.begin * f.stride + i.begin, f.stride, i.size(), width, k.size(), panels);
    }
    for (int64_t p = i.begin; p < i.end; p += width, panels += width * kernels_.words(k.size())) {
      const int64_t n = std::min(width, i.end - p);
      const float* src = rows;
      int64_t stride = k.size();
      if (f.layout == Factor::Layout::kAcross) {
        src = f.data + p * f.stride + k.begin;
        stride = f.stride;
      } else {
        for (int64_t r = 0; r < n; ++r) f.weight->fetch(f.weight->self, p + r, k.begin, k.end, rows + r * stride);
      }
      kernels_.pack_across(src, stride, n, width, k.size(), panels);
    }
  }

  Status pack_b(const Slab& slab, int64_t index, Range columns) const {
    const Range k = slab.block(index);
    float* rows = nullptr;
    if (p_.b.layout == Factor::Layout::kFetch) {
      rows = thread_scratch(static_cast<size_t>(kernels_.nr * k.size()));
      if (!rows) return error(Code::kOutOfMemory, "no memory for rows of a weight");
    }
    pack(p_.b, columns, kernels_.nr, k, rows, slab.strip(index, columns.begin, kernels_.words(k.size())));
    return {};
  }

  void initialize(const Tile& tile) const {
    const Product& p = *tile.product;
    for (int64_t i = tile.i.begin; i < tile.i.end; ++i) {
      float* row = p.c + i * p.c_stride;
      if (p.bias) {
        std::copy(p.bias + tile.j.begin, p.bias + tile.j.end, row + tile.j.begin);
      } else {
        std::fill(row + tile.j.begin, row + tile.j.end, 0.0f);
      }
    }
  }

  Status run_tile(const Slab& slab, const Tile& tile) const {
    const Product& p = *tile.product;
    const int64_t mr = kernels_.mr, nr = kernels_.nr;
    float* a_panels = thread_scratch(static_cast<size_t>(kDepth * round_up(kMaxRows, mr)));
    if (!a_panels) return error(Code::kOutOfMemory, "no memory for the panels of a matrix product");
    // What c starts from: its own content, the bias, or nothing.
    if (!p.accumulate && p.bias && slab.k.begin == 0) initialize(tile);
    for (int64_t index = 0; index < slab.blocks(); ++index) {
      const Range k = slab.block(index);
      const int64_t words = kernels_.words(k.size());
      const bool add = p.accumulate || p.bias || k.begin > 0;
      pack(p.a, tile.i, mr, k, nullptr, a_panels);
      for (int64_t chunk = tile.j.begin; chunk < tile.j.end; chunk += kMaxCols) {
        const int64_t chunk_end = std::min(chunk + kMaxCols, tile.j.end);
        for (int64_t i = tile.i.begin; i < tile.i.end; i += mr) {
          const int64_t m = std::min(mr, tile.i.end - i);
          for (int64_t j = chunk; j < chunk_end; j += nr) {
            if (p.lower_only && i + m - 1 < j) break;
            kernels_.tile(k.size(), a_panels + (i - tile.i.begin) * words, slab.strip(index, j, words), p.alpha, add, m,
                          std::min(nr, tile.j.end - j), p.c + i * p.c_stride + j, p.c_stride);
          }
        }
      }
    }
    return {};
  }

  const Context& context_;
  const Product* const products_;
  const size_t count_;
  const Product& p_;  // the first one, whose b is all products' b
  const PanelKernels& kernels_;
  Progress* const progress_;
};

}  // namespace

Status run_product(const Context& context, const Product& product, Progress* progress) {
  if (product.m == 0 || product.n == 0) return {};
  if (const BlockKernels* kernels = blocks(product.products))
    return run_blocks(context, *kernels, &product, 1, progress);
  return ProductRun(context, &product, 1, progress).run();
}

Status run_products(const Context& context, const std::vector<Product>& products, Progress* progress) {
  if (products.empty() || products[0].n == 0) return {};
  if (const BlockKernels* kernels = blocks(products[0].products)) {
    return run_blocks(context, *kernels, products.data(), products.size(), progress);
  }
  return ProductRun(context, products.data(), products.size(), progress).run();
}

size_t product_scratch(Products products, int64_t m, int64_t n, int64_t k) {
  if (n == 0) return 0;
  return blocks(products) ? block_scratch(m, n, k) : slab_floats(panels(products), n, k) * sizeof(float);
}

size_t task_scratch() {
  const size_t bytes = static_cast<size_t>(kDepth * kMaxRows) * sizeof(float);
  return blocks(Products::kFast) ? std::max(bytes, block_task_scratch()) : bytes;
}

}  // namespace qz
