#include "kernels/low_bit.h"

#include <algorithm>
#include <cassert>
#include <functional>

#include "base/checked.h"
#include "kernels/engines.h"
#include "kernels/low_bit_blocks.h"
#include "kernels/low_bit_columns.h"
#include "kernels/scratch.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// Weights of a task: enough to be worth handing out, few enough that they stay in the second-level cache for all rows
// of x.
constexpr int64_t kWeightsPerTask = 1 << 17;
// The same where the weights are read once: long runs of memory, because each begins with a wait for it and ends with
// lines fetched that another thread reads; but so many tasks a thread.
constexpr int64_t kWeightsPerRun = 1 << 19;
constexpr int64_t kRunsPerThread = 4;
// An F32 is three bfloat16 numbers: up to so many rows, where reading the weights is the cost, they are multiplied as
// such; beyond, in float32.
constexpr int64_t kMostRowsInParts = 2;
// Rows of x that are laid out at a time: their columns are memory, and reading the weights once more costs nothing
// then.
constexpr int64_t kRowsAtOnce = 512;

// What x becomes for one kind of kernel: each row `parts` columns, whose results are added, in `row_words` words with
// all that goes with them.
struct Form {
  int64_t parts = 1, row_words = 0;
  // Rows [first, first + count) of x, side by side. row: room for 2 * places floats.
  std::function<void(int64_t first, int64_t count, float* row, float* words)> make;
  std::function<void(const TileView& w, const float* words, int64_t count, float* out)> multiply;
};

int64_t groups_with_sums(const TiledWeights& w) { return w.offsets.empty() ? 0 : w.groups(); }

Form float_form(const TiledWeights& w, const Rows& x) {
  const int64_t places = w.places();
  const LowBitKernels& kernels = *engine().low_bit;
  return {1, places + groups_with_sums(w),
          [&w, x, places](int64_t first, int64_t count, float* row, float* words) {
            make_columns(w, x, first, count, row, words, words + count * places);
          },
          [&kernels, places](const TileView& tile, const float* words, int64_t count, float* out) {
            kernels.product(tile, words, words + count * places, count, out);
          }};
}

Form pair_form(const TiledWeights& w, const Rows& x) {
  const int64_t parts = parts_of(x), half = w.places() / 2;
  const LowBitPairKernels& kernels = *engine().low_bit_pairs;
  return {parts, parts * (half + groups_with_sums(w)),
          [&w, x, parts, half](int64_t first, int64_t count, float* row, float* words) {
            make_pair_columns(w, x, first, count, row, reinterpret_cast<uint32_t*>(words),
                              words + count * parts * half);
          },
          [&kernels, parts, half](const TileView& tile, const float* words, int64_t count, float* out) {
            const int64_t columns = count * parts;
            kernels.product(tile, reinterpret_cast<const uint32_t*>(words), words + columns * half, columns, out);
          }};
}

Form byte_form(const TiledWeights& w, const ByteRows& x) {
  const int64_t quarter = w.places() / 4, groups = w.groups();
  const LowBitByteKernels& kernels = *engine().low_bit_bytes;
  return {1, quarter + 2 * groups,
          [&w, x, quarter, groups](int64_t first, int64_t count, float* row, float* words) {
            float* factors = words + count * quarter;
            make_byte_columns(w, x, first, count, reinterpret_cast<int8_t*>(row), reinterpret_cast<uint32_t*>(words),
                              factors, reinterpret_cast<int32_t*>(factors + count * groups));
          },
          [&kernels, quarter, groups](const TileView& tile, const float* words, int64_t count, float* out) {
            const float* factors = words + count * quarter;
            kernels.product(tile, reinterpret_cast<const uint32_t*>(words), factors,
                            reinterpret_cast<const int32_t*>(factors + count * groups), count, out);
          }};
}

// x in chunks of rows of as even a size as can be; a chunk is what a kernel takes at once.
class ChunkedProduct {
 public:
  ChunkedProduct(const Context& context, const TiledWeights& w, int64_t rows, const Form& form)
      : context_(context), w_(w), form_(form), rows_(rows), count_(ceil_div(rows, kMostColumns / form.parts)) {}

  Status run(const float* bias, bool accumulate, const MutableRows& y, Progress* progress) {
    words_ = shared_scratch(static_cast<size_t>(rows_ * form_.row_words));
    if (!words_) return error(Code::kOutOfMemory, "no memory for the inputs of a product");
    const int64_t places = w_.places();
    const auto prepare = [&](uint32_t chunk, uint32_t) -> Status {
      float* row = thread_scratch(static_cast<size_t>(2 * places));
      if (!row) return error(Code::kOutOfMemory, "no memory for a row of inputs");
      form_.make(begin(chunk), begin(chunk + 1) - begin(chunk), row, words(chunk));
      return {};
    };
    if (count_ == 1) {
      QZ_TRY(prepare(0, 0));  // not worth waking the other threads
    } else {
      QZ_TRY(parallel_for(context_, static_cast<uint32_t>(count_), prepare, progress));
    }
    const int64_t tiles = w_.tiles(), step = tiles_per_task();
    const auto task = [&](uint32_t index, uint32_t) -> Status {
      const int64_t last = std::min<int64_t>((index + 1) * step, tiles);
      for (int64_t chunk = 0; chunk < count_; ++chunk) {
        for (int64_t t = index * step; t < last; ++t) multiply(t, chunk, bias, accumulate, y);
      }
      return {};
    };
    return parallel_for(context_, static_cast<uint32_t>(ceil_div(tiles, step)), task, progress);
  }

 private:
  int64_t begin(int64_t chunk) const { return chunk * rows_ / count_; }
  int64_t tiles_per_task() const {
    const int64_t weights = w_.places() * kTileRows;
    if (count_ > 1) return std::clamp<int64_t>(kWeightsPerTask / weights, 1, 64);
    const int64_t runs = kRunsPerThread * context_.pool->threads();
    return std::max<int64_t>(std::min(kWeightsPerRun / weights, w_.tiles() / runs), 1);
  }
  float* words(int64_t chunk) const { return words_ + begin(chunk) * form_.row_words; }

  void multiply(int64_t tile, int64_t chunk, const float* bias, bool accumulate, const MutableRows& y) const {
    alignas(64) float out[kMostColumns * kTileRows];
    const int64_t first = begin(chunk), rows = begin(chunk + 1) - first;
    form_.multiply(w_.tile(tile), words(chunk), rows, out);
    const int64_t n = tile * kTileRows, lanes = std::min(kTileRows, w_.rows - n);
    const auto size = static_cast<int64_t>(dtype_bits(y.dtype) / 8);
    for (int64_t i = 0; i < rows; ++i) {
      auto* to = static_cast<uint8_t*>(y.data) + ((first + i) * y.stride + n) * size;
      float values[kTileRows] = {};
      if (accumulate) to_f32(to, y.dtype, static_cast<size_t>(lanes), values);
      for (int64_t r = 0; r < lanes; ++r) {
        float sum = 0;
        for (int64_t p = form_.parts - 1; p >= 0; --p) sum += out[(i * form_.parts + p) * kTileRows + r];
        values[r] = values[r] + (bias ? bias[n + r] : 0.0f) + sum;
      }
      from_f32(values, y.dtype, static_cast<size_t>(lanes), to);
    }
  }

  const Context& context_;
  const TiledWeights& w_;
  const Form& form_;
  const int64_t rows_, count_;
  float* words_ = nullptr;
};

// Rows [first, ...) of y.
MutableRows from_row(const MutableRows& y, int64_t first) {
  return {static_cast<uint8_t*>(y.data) + first * y.stride * (dtype_bits(y.dtype) / 8), y.dtype, y.stride};
}

}  // namespace

int64_t TiledWeights::line_bytes() const {
  const TileLayout layout = tile_layout(bits);
  return places() / layout.columns * layout.lines * kLineWords * 4;
}

TileView TiledWeights::tile(int64_t index) const {
  const auto part = [&](const AlignedBytes& values, DType type) -> const void* {
    if (values.empty()) return nullptr;
    return values.data() + index * groups() * kTileRows * static_cast<int64_t>(dtype_bits(type) / 8);
  };
  const void* words = lines.data() + index * line_bytes();
  return {static_cast<const uint32_t*>(words),
          part(scales, scale_type),
          part(offsets, offset_type),
          starts.data(),
          groups(),
          table,
          scale_type,
          offset_type,
          bits,
          linear};
}

Status low_bit_product(const Context& context, const TiledWeights& w, const Rows& x, const float* bias, bool accumulate,
                       const MutableRows& y, Progress* progress) {
  assert(x.cols == w.cols && y.stride >= w.rows);
  const bool round = context.products != Products::kExact && x.dtype != DType::kBF16;
  const bool pairs = engine().low_bit_pairs && w.bits <= 4 && w.linear &&
                     (round || x.dtype != DType::kF32 || x.rows <= kMostRowsInParts);
  const LowBitBlockKernels* const of_blocks = engine().low_bit_blocks;
  const bool blocks = of_blocks && x.rows >= of_blocks->least_rows;
  for (int64_t i = 0; i < x.rows; i += kRowsAtOnce) {
    Rows some = x;
    some.data = static_cast<const uint8_t*>(x.data) + i * x.stride * (dtype_bits(x.dtype) / 8);
    some.rows = std::min(kRowsAtOnce, x.rows - i);
    some.rounded = round && (blocks || pairs);
    if (blocks) {
      QZ_TRY(product_by_blocks(context, w, some, bias, accumulate, from_row(y, i), progress));
      continue;
    }
    const Form form = pairs ? pair_form(w, some) : float_form(w, some);
    QZ_TRY(ChunkedProduct(context, w, some.rows, form).run(bias, accumulate, from_row(y, i), progress));
  }
  return {};
}

bool takes_bytes(const TiledWeights& w) {
  if (!w.linear || w.bits == 3) return false;
  for (size_t g = 1; g < w.starts.size(); ++g) {
    if (w.starts[g] - w.starts[g - 1] > kMostBytePlaces) return false;
  }
  return true;
}

Status low_bit_product_bytes(const Context& context, const TiledWeights& w, const ByteRows& x, const float* bias,
                             bool accumulate, const MutableRows& y, Progress* progress) {
  assert(x.cols == w.cols && y.stride >= w.rows && takes_bytes(w));
  const LowBitBlockKernels* const of_blocks = engine().low_bit_blocks;
  const bool blocks = of_blocks && x.rows >= of_blocks->least_byte_rows;
  for (int64_t i = 0; i < x.rows; i += kRowsAtOnce) {
    ByteRows some = x;
    some.codes += i * x.cols;
    some.factors += i * x.factors_of_row;
    some.rows = std::min(kRowsAtOnce, x.rows - i);
    if (blocks) {
      QZ_TRY(product_by_blocks(context, w, some, bias, accumulate, from_row(y, i), progress));
      continue;
    }
    QZ_TRY(ChunkedProduct(context, w, some.rows, byte_form(w, some)).run(bias, accumulate, from_row(y, i), progress));
  }
  return {};
}

void expand_row(const TiledWeights& w, int64_t r, float* out) {
  const TileLayout layout = tile_layout(w.bits);
  float values[32 * kTileRows];
  const TileView view = w.tile(r / kTileRows);
  for (int64_t k = 0; k < w.places(); k += layout.columns) {
    engine().low_bit->expand(view, k, k + layout.columns, values, kTileRows);
    for (int64_t i = 0; i < layout.columns; ++i) {
      const int64_t column = w.order.empty() ? k + i : w.order[static_cast<size_t>(k + i)];
      if (column >= 0) out[column] = values[i * kTileRows + r % kTileRows];
    }
  }
}

}  // namespace qz
