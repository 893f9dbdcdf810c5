// The micro-kernels with pages that may not be touched on both sides of everything that they read and write. What does
// not fill whole pages stands once against the page before it and once against the page after it.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "../kernels/each_engine.h"
#include "kernels/low_bit_columns.h"
#include "packed/tiles.h"
#include "random_matrix.h"

namespace qz {
namespace {

class Guarded {
 public:
  Guarded(const void* from, size_t bytes, bool at_end) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t room = (bytes + page - 1) / page * page;
    size_ = room + 2 * page;
    base_ = static_cast<uint8_t*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    data_ = base_ + page + (at_end ? room - bytes : 0);
    if (bytes > 0 && from != nullptr) std::memcpy(data_, from, bytes);
    EXPECT_EQ(mprotect(base_, page, PROT_NONE), 0);
    EXPECT_EQ(mprotect(base_ + page + room, page, PROT_NONE), 0);
  }
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(static_cast<void*>(data_));
  }

 private:
  uint8_t *base_, *data_;
  size_t size_;
};

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
