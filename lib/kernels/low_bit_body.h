// The float32 products with weights of few bits, written once for vectors of any width. A file that includes this
// defines, in an unnamed namespace and before, a struct Isa:
//   Vec, Words, kLanes           floats and 32-bit words, kLanes each (a divisor of 16)
//   load_words, load, store, broadcast(float), fma(a, b, c), as_f32(base, type, index)
//   Table, table(view)           whatever values are looked up in
//   value<bits, shift>(words, table): the values, times unit<bits>(), of the codes that begin at bit `shift`
// Everything is in an unnamed namespace and includes nothing with shared inline functions: code compiled for a newer
// instruction set must not reach the linker under a name that another file also uses.
#include "kernels/low_bit_kernels.h"
#include "kernels/low_bit_unrolled.h"

namespace qz {
namespace {

// The words of a unit; at 3 bits words[3] holds the pair that is spread over the others.
template <int kBits, class Isa>
inline QZ_INLINE void load_unit(const uint32_t* unit, typename Isa::Words words[4]) {
  words[0] = Isa::load_words(unit);
  if constexpr (kBits == 3) {
    words[1] = Isa::load_words(unit + kLineWords);
    words[2] = Isa::load_words(unit + 2 * kLineWords);
    words[3] = (words[0] >> 15 & 0x00010001u) | (words[1] >> 14 & 0x00020002u) | (words[2] >> 13 & 0x00040004u);
  }
}

template <int kBits, int kColumn, class Isa>
inline QZ_INLINE typename Isa::Vec value_of(const typename Isa::Words words[4], const typename Isa::Table& table) {
  if constexpr (kBits == 3 && kColumn >= 30) {
    return Isa::template value<kBits, kColumn % 2 * 16>(words[3], table);
  } else {
    constexpr BitPlace kPlace = bit_place(kBits, kColumn, 0);
    return Isa::template value<kBits, kPlace.bit>(words[kPlace.line], table);
  }
}

// Sums that are added up apart, so that an addition does not wait for the one before it.
constexpr int sets_of(int sums) { return sums == 1 ? 4 : sums <= 3 ? 2 : 1; }

template <int kBits, int kColumns, class Isa>
void product_of(const TileView& w, const float* x, const float* sums, float* out) {
  using Vec = typename Isa::Vec;
  using Words = typename Isa::Words;
  constexpr TileLayout kLayout = tile_layout(kBits);
  constexpr int kParts = parts_at_once(kColumns, Isa::kLanes);
  constexpr int kSets = sets_of(kColumns * kParts);
  const typename Isa::Table table = Isa::table(w);
  const Vec unit = Isa::broadcast(Isa::template unit<kBits>());
  for (int64_t first = 0; first < kTileRows; first += kParts * Isa::kLanes) {
    for (int64_t c = 0; c < kColumns; ++c) {
      for (int64_t p = 0; p < kParts; ++p) Isa::store(out + c * kTileRows + first + p * Isa::kLanes, Vec{});
    }
    const uint32_t* line = w.lines + first;
    const float* xk = x;
    for (int64_t g = 0; g < w.groups; ++g) {
      Vec sum[kParts][kSets][kColumns] = {};
      for (int64_t k = w.starts[g]; k < w.starts[g + 1]; k += kLayout.columns) {
        __builtin_prefetch(line + 64 * kLineWords, 0, 2);  // 4 KiB ahead, into the second-level cache
        Words words[kParts][4];
        unrolled<0, kParts>([&]<int kPart>()
                                QZ_INLINE { load_unit<kBits, Isa>(line + kPart * Isa::kLanes, words[kPart]); });
        unrolled<0, kLayout.columns>([&]<int kColumn>() QZ_INLINE {
          unrolled<0, kParts>([&]<int kPart>() QZ_INLINE {
            const Vec value = value_of<kBits, kColumn, Isa>(words[kPart], table);
#pragma GCC unroll 8
            for (int c = 0; c < kColumns; ++c) {
              Vec& to = sum[kPart][kColumn % kSets][c];
              to = Isa::fma(value, Isa::broadcast(xk[kColumn * kColumns + c]), to);
            }
          });
        });
        line += kLayout.lines * kLineWords;
        xk += kLayout.columns * kColumns;
      }
      unrolled<0, kParts>([&]<int kPart>() QZ_INLINE {
        const int64_t row = first + kPart * Isa::kLanes;
        const Vec scale = Isa::as_f32(w.scales, w.scale_type, g * kTileRows + row);
        const Vec offset = w.offsets ? Isa::as_f32(w.offsets, w.offset_type, g * kTileRows + row) : Vec{};
#pragma GCC unroll 8
        for (int c = 0; c < kColumns; ++c) {
          const auto& part = sum[kPart];
          Vec total = part[0][c];
          if constexpr (kSets == 2) total += part[1][c];
          if constexpr (kSets == 4) total = (total + part[1][c]) + (part[2][c] + part[3][c]);
          total *= unit;
          if (w.offsets) total -= offset * Isa::broadcast(sums[g * kColumns + c]);
          float* to = out + c * kTileRows + row;
          Isa::store(to, Isa::fma(scale, total, Isa::load(to)));
        }
      });
    }
  }
}

template <int kBits, class Isa>
void product_columns(const TileView& w, const float* x, const float* sums, int64_t columns, float* out) {
  using Product = void (*)(const TileView&, const float*, const float*, float*);
  static constexpr Product kProducts[kMostColumns] = {
      product_of<kBits, 1, Isa>, product_of<kBits, 2, Isa>, product_of<kBits, 3, Isa>, product_of<kBits, 4, Isa>,
      product_of<kBits, 5, Isa>, product_of<kBits, 6, Isa>, product_of<kBits, 7, Isa>, product_of<kBits, 8, Isa>};
  kProducts[columns - 1](w, x, sums, out);
}

template <class Isa>
void product(const TileView& w, const float* x, const float* sums, int64_t columns, float* out) {
  if (w.bits == 2) return product_columns<2, Isa>(w, x, sums, columns, out);
  if (w.bits == 3) return product_columns<3, Isa>(w, x, sums, columns, out);
  if (w.bits == 4) return product_columns<4, Isa>(w, x, sums, columns, out);
  product_columns<8, Isa>(w, x, sums, columns, out);
}

template <int kBits, class Isa>
void expand_of(const TileView& w, int64_t begin, int64_t end, float* out, int64_t stride) {
  using Vec = typename Isa::Vec;
  constexpr TileLayout kLayout = tile_layout(kBits);
  const typename Isa::Table table = Isa::table(w);
  const Vec unit = Isa::broadcast(Isa::template unit<kBits>());
  for (int64_t first = 0; first < kTileRows; first += Isa::kLanes) {
    const uint32_t* line = w.lines + begin / kLayout.columns * kLayout.lines * kLineWords + first;
    float* to = out + first;
    int64_t g = 0;
    while (begin >= w.starts[g + 1]) ++g;
    for (int64_t k = begin; k < end; ++g) {
      const int64_t stop = end < w.starts[g + 1] ? end : w.starts[g + 1];
      const Vec scale = Isa::as_f32(w.scales, w.scale_type, g * kTileRows + first);
      const Vec offset = w.offsets ? Isa::as_f32(w.offsets, w.offset_type, g * kTileRows + first) : Vec{};
      for (; k < stop; k += kLayout.columns) {
        typename Isa::Words words[4];
        load_unit<kBits, Isa>(line, words);
        unrolled<0, kLayout.columns>([&]<int kColumn>() QZ_INLINE {
          const Vec value = value_of<kBits, kColumn, Isa>(words, table) * unit;
          Isa::store(to + kColumn * stride, (value - offset) * scale);
        });
        line += kLayout.lines * kLineWords;
        to += kLayout.columns * stride;
      }
    }
  }
}

template <class Isa>
void expand(const TileView& w, int64_t begin, int64_t end, float* out, int64_t stride) {
  if (w.bits == 2) return expand_of<2, Isa>(w, begin, end, out, stride);
  if (w.bits == 3) return expand_of<3, Isa>(w, begin, end, out, stride);
  if (w.bits == 4) return expand_of<4, Isa>(w, begin, end, out, stride);
  expand_of<8, Isa>(w, begin, end, out, stride);
}

}  // namespace
}  // namespace qz
