#include "kernels/low_bit_columns.h"

#include <cstring>

#include "base/simd.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// In the order of places, in 16 sums side by side.
QZ_SIMD_CLONES
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

QZ_SIMD_CLONES
int32_t sum_of(const int8_t* x, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

// To nearest, ties to even; a NaN stays one.
QZ_SIMD_CLONES
void round_to_bf16(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    bits = nan ? bits | 0x00400000u : bits + 0x7FFFu + (bits >> 16 & 1u);
    bits &= 0xFFFF0000u;
    std::memcpy(x + i, &bits, 4);
  }
}

// Sixteen bytes at a time in another order.
QZ_SIMD_CLONES
void shuffle_bytes(const int8_t* x, int64_t n, const int8_t order[16], int8_t* out) {
  typedef int8_t Bytes __attribute__((vector_size(16)));
  Bytes mask;
  std::memcpy(&mask, order, sizeof mask);
  for (int64_t i = 0; i + 16 <= n; i += 16) {
    Bytes v;
    std::memcpy(&v, x + i, sizeof v);
    v = __builtin_shuffle(v, mask);
    std::memcpy(out + i, &v, sizeof v);
  }
  for (int64_t i = n / 16 * 16; i < n; ++i) out[i] = x[n / 16 * 16 + order[i % 16]];
}

}  // namespace

// Cut, not rounded: then what remains is exact, and three cuts leave nothing of 24 bits. Infinity and NaN are in the
// first part alone.
QZ_SIMD_CLONES
void cut_part(float* x, int64_t n, uint16_t* part) {
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

void sums_of_groups(const TiledWeights& w, const float* row, int64_t columns, float* sums) {
  for (int64_t g = 0; g < w.groups(); ++g) {
    const int32_t begin = w.starts[static_cast<size_t>(g)], end = w.starts[static_cast<size_t>(g + 1)];
    sums[g * columns] = sum_of(row + begin, end - begin);
  }
}

void row_by_places(const TiledWeights& w, const Rows& x, int64_t i, float* out) {
  const auto size = static_cast<int64_t>(dtype_bits(x.dtype) / 8);
  const auto* from = static_cast<const uint8_t*>(x.data) + i * x.stride * size;
  if (w.order.empty()) to_f32(from, x.dtype, static_cast<size_t>(x.cols), out);
  for (size_t p = 0; p < w.order.size(); ++p) {
    out[p] = 0;
    if (w.order[p] >= 0) to_f32(from + w.order[p] * size, x.dtype, 1, out + p);
  }
  if (x.rounded) round_to_bf16(out, w.order.empty() ? x.cols : w.places());
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
  const int64_t places = w.places(), parts = parts_of(x), all = count * parts;
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
      cut_part(row, places, part);
      for (int64_t k = 0; k < places; k += 2) {
        columns[k / 2 * all + column] = static_cast<uint32_t>(part[k]) | static_cast<uint32_t>(part[k + 1]) << 16;
      }
    }
  }
}

void byte_row(const TiledWeights& w, const int8_t* codes, int8_t* out, int32_t* sums, int64_t columns) {
  const int32_t unit = tile_layout(w.bits).columns;
  int8_t order[16];
  for (int32_t i = 0; i < 16; ++i)
    order[i] = static_cast<int8_t>(i / unit * unit + byte_place(w.bits, i % unit / 4, i % 4));
  const int64_t places = w.places();
  if (w.order.empty() && places == w.cols) {
    shuffle_bytes(codes, places, order, out);
  } else {
    for (int64_t p = 0; p < places; ++p) {
      const int64_t place = p / unit * unit + order[p % unit];
      const int64_t column = w.order.empty() ? place : w.order[static_cast<size_t>(place)];
      out[p] = column < 0 ? int8_t{0} : codes[column];
    }
  }
  for (int64_t g = 0; g < w.groups(); ++g) {
    const int32_t begin = w.starts[static_cast<size_t>(g)], end = w.starts[static_cast<size_t>(g + 1)];
    sums[g * columns] = sum_of(out + begin, end - begin);
  }
}

void make_byte_columns(const TiledWeights& w, const ByteRows& x, int64_t first, int64_t count, int8_t* row,
                       uint32_t* columns, float* factors, int32_t* sums) {
  const int64_t words = w.places() / 4;
  for (int64_t i = 0; i < count; ++i) {
    byte_row(w, x.codes + (first + i) * x.cols, row, sums + i, count);
    for (int64_t k = 0; k < words; ++k) std::memcpy(columns + k * count + i, row + 4 * k, 4);
    const float* factor = x.factors + (first + i) * x.factors_of_row;
    for (int64_t g = 0; g < w.groups(); ++g) factors[g * count + i] = factor[x.factors_of_row == 1 ? 0 : g];
  }
}

}  // namespace qz
