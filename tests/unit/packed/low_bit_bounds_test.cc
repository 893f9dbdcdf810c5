// The micro-kernels with pages that may not be touched on both sides of everything that they read and write.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "../kernels/each_engine.h"
#include "../kernels/guarded.h"
#include "kernels/low_bit_columns.h"
#include "packed/tiles.h"
#include "random_matrix.h"

namespace qz {
namespace {

void check(const char* name, DType scale, int64_t columns, bool at_end) {
  SCOPED_TRACE(std::string(name) + ", columns " + std::to_string(columns));
  auto scheme = *scheme_preset(name);
  scheme.scale = scale;
  const auto q = random_matrix(16, 160, scheme, 7);
  const auto context = make_context(1);
  const auto w = tile_matrix(*context, q);
  ASSERT_TRUE(w.ok());
  const auto floats = normal(columns * q.cols, 8);
  const Rows x{floats.data(), DType::kBF16, columns, q.cols, q.cols};  // any bits: every half of a float is a number
  const int64_t places = w->places(), groups = w->groups();
  std::vector<float> row(static_cast<size_t>(2 * places)), plain(static_cast<size_t>(places * columns)),
      sums(static_cast<size_t>(groups * columns));
  std::vector<uint32_t> pairs(static_cast<size_t>(places / 2 * columns));
  make_columns(*w, x, 0, columns, row.data(), plain.data(), sums.data());
  make_pair_columns(*w, x, 0, columns, row.data(), pairs.data(), sums.data());
  const Guarded lines(w->lines.data(), w->lines.size(), at_end), scales(w->scales.data(), w->scales.size(), at_end);
  const Guarded offsets(w->offsets.data(), w->offsets.size(), at_end);
  const Guarded starts(w->starts.data(), w->starts.size() * 4, at_end), table(w->table, sizeof w->table, at_end);
  const Guarded plain_x(plain.data(), plain.size() * 4, at_end), pairs_x(pairs.data(), pairs.size() * 4, at_end);
  const Guarded sums_x(sums.data(), sums.size() * 4, at_end);
  const Guarded out(nullptr, static_cast<size_t>(columns * kTileRows) * 4, at_end);
  const Guarded weights(nullptr, static_cast<size_t>(places * kTileRows) * 4, at_end);
  TileView view = w->tile(0);
  view.lines = lines.as<uint32_t>();
  view.scales = scales.as<void>();
  view.offsets = w->offsets.empty() ? nullptr : offsets.as<void>();
  view.starts = starts.as<int32_t>();
  view.table = table.as<float>();
  for_each_engine([&] {
    engine().low_bit->product(view, plain_x.as<float>(), sums_x.as<float>(), columns, out.as<float>());
    engine().low_bit->expand(view, 0, places, weights.as<float>(), kTileRows);
    if (engine().low_bit_pairs && view.linear && view.bits <= 4) {
      engine().low_bit_pairs->product(view, pairs_x.as<uint32_t>(), sums_x.as<float>(), columns, out.as<float>());
    }
  });
}

void check_bytes(const char* name, int64_t columns, bool at_end) {
  SCOPED_TRACE(std::string(name) + ", columns " + std::to_string(columns));
  const auto q = random_matrix(16, 164, *scheme_preset(name), 7);
  const auto context = make_context(1);
  const auto w = tile_matrix(*context, q);
  ASSERT_TRUE(w.ok());
  const std::vector<int8_t> codes(static_cast<size_t>(columns * q.cols), int8_t{-3});
  const auto of_rows = normal(columns, 8);
  const auto groups = static_cast<size_t>(w->groups() * columns);
  std::vector<uint32_t> words(static_cast<size_t>(w->places() / 4 * columns));
  std::vector<float> factors(groups);
  std::vector<int32_t> sums(groups);
  std::vector<int8_t> row(static_cast<size_t>(w->places()));
  make_byte_columns(*w, {codes.data(), of_rows.data(), columns, q.cols, 1}, 0, columns, row.data(), words.data(),
                    factors.data(), sums.data());
  const Guarded lines(w->lines.data(), w->lines.size(), at_end), x(words.data(), words.size() * 4, at_end);
  const Guarded guarded_factors(factors.data(), groups * 4, at_end), guarded_sums(sums.data(), groups * 4, at_end);
  const Guarded out(nullptr, static_cast<size_t>(columns * kTileRows) * 4, at_end);
  TileView view = w->tile(0);
  view.lines = lines.as<uint32_t>();
  for_each_engine([&] {
    engine().low_bit_bytes->product(view, x.as<uint32_t>(), guarded_factors.as<float>(), guarded_sums.as<int32_t>(),
                                    columns, out.as<float>());
  });
}

TEST(LowBitBoundsTest, NothingOutsideBytesIsTouched) {
  for (const bool at_end : {false, true}) {
    for (const char* name : {"w2g32", "w4g32a", "w8g32", "w8row"}) {
      for (int64_t columns = 1; columns <= kMostColumns; ++columns) check_bytes(name, columns, at_end);
    }
  }
}

// Blocks of x are whole tiles, whatever they hold: numbers that any bits of which are finite.
void check_blocks(const char* name, DType scale, int64_t rows, bool bytes, bool at_end) {
  const LowBitBlockKernels* kernels = engine().low_bit_blocks;
  if (!kernels) return;
  SCOPED_TRACE(std::string(name) + ", rows " + std::to_string(rows));
  auto scheme = *scheme_preset(name);
  scheme.scale = scale;
  const auto q = random_matrix(16, 136, scheme, 7);
  const auto w = tile_matrix(*make_context(1), q);
  ASSERT_TRUE(w.ok());
  const int64_t groups = w->groups(), parts = bytes ? 1 : 3, count = 2, places = bytes ? kBytePlaces : kPairPlaces;
  BlockedRows x;
  x.count = count, x.rows = rows, x.parts = parts, x.steps = 0;
  for (size_t g = 1; g < w->starts.size(); ++g) x.steps += (w->starts[g] - w->starts[g - 1] + places - 1) / places;
  const std::vector<uint16_t> numbers(static_cast<size_t>(count * x.steps * parts * rows * 32), 0x3F01);
  const std::vector<float> zeros(static_cast<size_t>(count * groups * rows));
  const Guarded blocks(numbers.data(), numbers.size() * 2, at_end);
  const Guarded sums(zeros.data(), zeros.size() * 4, at_end), factors(zeros.data(), zeros.size() * 4, at_end);
  x.blocks = blocks.as<uint8_t>(), x.sums = sums.as<void>(), x.factors = factors.as<float>();
  const Guarded lines(w->lines.data(), w->lines.size(), at_end), scales(w->scales.data(), w->scales.size(), at_end);
  const Guarded offsets(w->offsets.data(), w->offsets.size(), at_end);
  const Guarded starts(w->starts.data(), w->starts.size() * 4, at_end), table(w->table, sizeof w->table, at_end);
  const Guarded scratch(nullptr, kBlockScratch, at_end);
  const Guarded out(nullptr, static_cast<size_t>(count * rows * kBlockColumns) * 4, at_end);
  TileView view = w->tile(0);
  view.lines = lines.as<uint32_t>();
  view.scales = scales.as<void>();
  view.offsets = w->offsets.empty() ? nullptr : offsets.as<void>();
  view.starts = starts.as<int32_t>();
  view.table = table.as<float>();
  const TileView views[kBlockTiles] = {view, view, view, view};
  (bytes ? kernels->product_bytes : kernels->product)(views, x, scratch.as<void>(), out.as<float>());
}

TEST(LowBitBoundsTest, BlocksTouchNothingOutside) {
  for_each_engine([] {
    for (const bool at_end : {false, true}) {
      for (const char* name : {"w2g32", "w3g32a", "w4g32", "w4rowa", "w4g32f", "w8g32", "w8rowa", "nf4b32"}) {
        for (const DType scale : {DType::kF32, DType::kF16, DType::kBF16}) {
          for (const int64_t rows : {1, 7, 16}) {
            check_blocks(name, scale, rows, false, at_end);
            if (name[1] != '3' && name[0] == 'w') check_blocks(name, scale, rows, true, at_end);
          }
        }
      }
    }
  });
}

TEST(LowBitBoundsTest, NothingOutsideIsTouched) {
  for (const bool at_end : {false, true}) {
    for (const char* name : {"w2g32", "w3g32a", "w4g32", "w4rowa", "w4g32f", "w8g32", "w8rowa", "nf4b32"}) {
      for (const DType scale : {DType::kF32, DType::kF16, DType::kBF16}) {
        for (int64_t columns = 1; columns <= kMostColumns; ++columns) check(name, scale, columns, at_end);
      }
    }
  }
}

}  // namespace
}  // namespace qz
