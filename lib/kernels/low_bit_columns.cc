#include "kernels/low_bit_columns.h"

#include <cstring>

#include "base/simd.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// The upper half of each float as a bfloat16 (cut, not rounded: then what remains is exact, and three cuts leave
// nothing of 24 bits), and what remains. Infinity and NaN are in the first part alone.
QZ_SIMD_CLONES
void cut(float* x, int64_t n, uint16_t* part) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    const bool finite = (bits & 0x7F800000u) != 0x7F800000u;
    const bool nan = !finite && (bits & 0x007FFFFFu) != 0;
    const uint32_t upper = (bits & 0xFFFF0000u) | (nan ? 0x00400000u : 0u);
    float value;
    std::memcpy(&value, &upper, 4);
    part[i] = static_cast<uint16_t>(upper >> 16);
    x[i] = finite ? x[i] - value : 0.0f;
  }
}

// In the order of places, in 16 sums side by side.
float sum_of(const float* x, int64_t n) {
  float lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int64_t l = 0; l < 16; ++l) lanes[l] += x[i + l];
  }
  for (; i < n; ++i) lanes[i % 16] += x[i];
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

void sums_of_groups(const TiledWeights& w, const float* row, int64_t columns, float* sums) {
  for (int64_t g = 0; g < w.groups(); ++g) {
    const int32_t begin = w.starts[static_cast<size_t>(g)], end = w.starts[static_cast<size_t>(g + 1)];
    sums[g * columns] = sum_of(row + begin, end - begin);
  }
}

}  // namespace

void row_by_places(const TiledWeights& w, const Rows& x, int64_t i, float* out) {
  const auto size = static_cast<int64_t>(dtype_bits(x.dtype) / 8);
  const auto* from = static_cast<const uint8_t*>(x.data) + i * x.stride * size;
  if (w.order.empty()) return to_f32(from, x.dtype, static_cast<size_t>(x.cols), out);
  for (size_t p = 0; p < w.order.size(); ++p) {
    out[p] = 0;
    if (w.order[p] >= 0) to_f32(from + w.order[p] * size, x.dtype, 1, out + p);
  }
}

void make_columns(const TiledWeights& w, const Rows& x, int64_t first, int64_t count, float* row, float* columns,
                  float* sums) {
  const int64_t places = w.places();
  for (int64_t i = 0; i < count; ++i) {
    row_by_places(w, x, first + i, row);
    for (int64_t p = 0; p < places; ++p) columns[p * count + i] = row[p];
    if (!w.offsets.empty()) sums_of_groups(w, row, count, sums + i);
  }
}

void make_pair_columns(const TiledWeights& w, const Rows& x, int64_t first, int64_t count, float* row,
                       uint32_t* columns, float* sums) {
  const int64_t places = w.places(), parts = parts_of(x.dtype), all = count * parts;
  auto* part = reinterpret_cast<uint16_t*>(row + places);
  for (int64_t i = 0; i < count; ++i) {
    row_by_places(w, x, first + i, row);
    for (int64_t p = 0; p < parts; ++p) {
      const int64_t column = i * parts + p;
      // The sum of all parts stands with the first one.
      if (!w.offsets.empty()) {
        if (p == 0) {
          sums_of_groups(w, row, all, sums + column);
        } else {
          for (int64_t g = 0; g < w.groups(); ++g) sums[g * all + column] = 0;
        }
      }
      cut(row, places, part);
      for (int64_t k = 0; k < places; k += 2) {
        columns[k / 2 * all + column] = static_cast<uint32_t>(part[k]) | static_cast<uint32_t>(part[k + 1]) << 16;
      }
    }
  }
}

void make_byte_columns(const TiledWeights& w, const ByteRows& x, int64_t first, int64_t count, uint32_t* columns,
                       float* factors, int32_t* sums) {
  const TileLayout layout = tile_layout(w.bits);
  int32_t places[16];  // of the bytes of a unit, word by word
  for (int32_t i = 0; i < layout.columns; ++i) places[i] = byte_place(w.bits, i / 4, i % 4);
  for (int64_t i = 0; i < count; ++i) {
    const int8_t* codes = x.codes + (first + i) * x.cols;
    const float* factor = x.factors + (first + i) * x.factors_of_row;
    for (int64_t g = 0; g < w.groups(); ++g) {
      int32_t sum = 0;
      const int32_t end = w.starts[static_cast<size_t>(g + 1)];
      for (int64_t k = w.starts[static_cast<size_t>(g)]; k < end; k += layout.columns) {
        for (int32_t j = 0; j < layout.columns; j += 4) {
          uint32_t word = 0;
          for (int32_t b = 0; b < 4; ++b) {
            const int64_t place = k + places[j + b];
            const int64_t column = w.order.empty() ? place : w.order[static_cast<size_t>(place)];
            const int32_t code = column < 0 ? 0 : codes[column];
            sum += code;
            word |= (static_cast<uint32_t>(code) & 0xFF) << (8 * b);
          }
          columns[(k + j) / 4 * count + i] = word;
        }
      }
      sums[g * count + i] = sum;
      factors[g * count + i] = factor[x.factors_of_row == 1 ? 0 : g];
    }
  }
}

}  // namespace qz
