// The products with x in 8 bits, written once for vectors of any width. A file that includes this defines, in an
// unnamed namespace and before, a struct Isa:
//   Vec, Words, kLanes                        floats and 32-bit words, kLanes each (a divisor of 16)
//   load_words, load, store, to_f32(words as signed), fma(a, b, c), as_f32(base, type, index)
//   dot(sum, codes, x)                        sum + the products of 4 unsigned with 4 signed bytes in each word
// and may, for codes of up to 4 bits, define faster sums that hold kNarrowDots of them:
//   dot_narrow(sum, codes, x), widen(sum)     the same in halves of words, and their sum in words
#include <algorithm>

#include "kernels/low_bit_kernels.h"
#include "kernels/low_bit_unrolled.h"

namespace qz {
namespace {

template <int kBits, class Isa>
constexpr bool has_narrow_sums() {
  return kBits <= 4 && requires { Isa::kNarrowDots; };
}
// Columns between two widenings of narrow sums; of others there is none.
template <int kBits, class Isa>
constexpr int64_t columns_at_once() {
  if constexpr (has_narrow_sums<kBits, Isa>()) return 4 * Isa::kNarrowDots;
  return int64_t{1} << 40;
}
template <int kBits, class Isa>
inline QZ_INLINE typename Isa::Words add_dot(typename Isa::Words sum, typename Isa::Words codes, uint32_t x) {
  if constexpr (has_narrow_sums<kBits, Isa>()) return Isa::dot_narrow(sum, codes, x);
  return Isa::dot(sum, codes, x);
}
template <int kBits, class Isa>
inline QZ_INLINE typename Isa::Words widened(typename Isa::Words sum) {
  if constexpr (has_narrow_sums<kBits, Isa>()) return Isa::widen(sum);
  return sum;
}

template <int kBits, int kColumns, class Isa>
void product_bytes_of(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums, float* out) {
  using Vec = typename Isa::Vec;
  using Words = typename Isa::Words;
  constexpr TileLayout kLayout = tile_layout(kBits);
  constexpr int kWords = kLayout.columns / 4;
  constexpr int kParts = parts_at_once(kColumns, Isa::kLanes);
  // Sums that are added up apart, so that an addition does not wait for the one before it.
  constexpr int kSets = kWords > 1 && kColumns * kParts <= 4 ? 2 : 1;
  constexpr uint32_t kMask = 0x01010101u * ((1u << kBits) - 1);
  const auto base = static_cast<uint32_t>(kBits == 8 ? 128 : -static_cast<int32_t>(w.table[0]));
  for (int64_t first = 0; first < kTileRows; first += kParts * Isa::kLanes) {
    for (int64_t c = 0; c < kColumns; ++c) {
      for (int64_t p = 0; p < kParts; ++p) Isa::store(out + c * kTileRows + first + p * Isa::kLanes, Vec{});
    }
    const uint32_t* line = w.lines + first;
    const uint32_t* xk = x;
    for (int64_t g = 0; g < w.groups; ++g) {
      Words sum[kParts][kColumns] = {};
      const int64_t end = w.starts[g + 1];
      for (int64_t k = w.starts[g]; k < end;) {
        const int64_t stop = std::min(end, k + columns_at_once<kBits, Isa>());
        Words narrow[kParts][kSets][kColumns] = {};
        for (; k < stop; k += kLayout.columns) {
          __builtin_prefetch(line + 64 * kLineWords);
          unrolled<0, kParts>([&]<int kPart>() QZ_INLINE {
            const Words lane = Isa::load_words(line + kPart * Isa::kLanes);
            unrolled<0, kWords>([&]<int kWord>() QZ_INLINE {
              const Words codes = kBits == 8 ? lane : lane >> (kWord * kBits) & kMask;
#pragma GCC unroll 8
              for (int c = 0; c < kColumns; ++c) {
                Words& to = narrow[kPart][kWord % kSets][c];
                to = add_dot<kBits, Isa>(to, codes, xk[kWord * kColumns + c]);
              }
            });
          });
          line += kLineWords;
          xk += kWords * kColumns;
        }
        unrolled<0, kParts>([&]<int kPart>() QZ_INLINE {
#pragma GCC unroll 8
          for (int c = 0; c < kColumns; ++c) {
            sum[kPart][c] += widened<kBits, Isa>(narrow[kPart][0][c]);
            if constexpr (kSets == 2) sum[kPart][c] += widened<kBits, Isa>(narrow[kPart][1][c]);
          }
        });
      }
      unrolled<0, kParts>([&]<int kPart>() QZ_INLINE {
        const int64_t row = first + kPart * Isa::kLanes;
        const Vec scale = Isa::as_f32(w.scales, w.scale_type, g * kTileRows + row);
        const Vec offset = w.offsets ? Isa::as_f32(w.offsets, w.offset_type, g * kTileRows + row) : Vec{};
#pragma GCC unroll 8
        for (int c = 0; c < kColumns; ++c) {
          const int32_t x_sum = sums[g * kColumns + c];
          Vec exact = Isa::to_f32(sum[kPart][c] - base * static_cast<uint32_t>(x_sum));
          if (w.offsets) exact -= offset * static_cast<float>(x_sum);
          float* to = out + c * kTileRows + row;
          Isa::store(to, Isa::fma(scale * factors[g * kColumns + c], exact, Isa::load(to)));
        }
      });
    }
  }
}

template <int kBits, class Isa>
void product_bytes_columns(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums,
                           int64_t columns, float* out) {
  using Product = void (*)(const TileView&, const uint32_t*, const float*, const int32_t*, float*);
  static constexpr Product kProducts[kMostColumns] = {product_bytes_of<kBits, 1, Isa>, product_bytes_of<kBits, 2, Isa>,
                                                      product_bytes_of<kBits, 3, Isa>, product_bytes_of<kBits, 4, Isa>,
                                                      product_bytes_of<kBits, 5, Isa>, product_bytes_of<kBits, 6, Isa>,
                                                      product_bytes_of<kBits, 7, Isa>, product_bytes_of<kBits, 8, Isa>};
  kProducts[columns - 1](w, x, factors, sums, out);
}

template <class Isa>
void product_bytes(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums, int64_t columns,
                   float* out) {
  if (w.bits == 2) return product_bytes_columns<2, Isa>(w, x, factors, sums, columns, out);
  if (w.bits == 4) return product_bytes_columns<4, Isa>(w, x, factors, sums, columns, out);
  product_bytes_columns<8, Isa>(w, x, factors, sums, columns, out);
}

}  // namespace
}  // namespace qz
