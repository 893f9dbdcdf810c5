// NEON with the bfloat16 products of Armv8.6: a shift, a mask and a look-up in the 32 bytes of two registers make 4
// pairs of weights; BFMMLA multiplies two of them of 2 rows with 2 columns of x, BFDOT takes a single column. Products
// are exact, since codes less their middle are integers of up to 4 bits; float32 sums per group, scaled once at its
// end.
#if defined(__aarch64__)
#include "kernels/low_bit_neon_squares.h"

#include "kernels/low_bit_body.h"

namespace qz {
namespace {

typedef Vectors::Vec Vec;
typedef Vectors::Words Words;

// The table in bfloat16, as bytes.
inline QZ_INLINE uint8x16x2_t table_of(const TileView& w) {
  uint8x16x2_t table;
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const uint32x4_t low = vreinterpretq_u32_f32(vld1q_f32(w.table + 8 * i));
    const uint32x4_t high = vreinterpretq_u32_f32(vld1q_f32(w.table + 8 * i + 4));
    table.val[i] = vreinterpretq_u8_u16(vcombine_u16(vshrn_n_u32(low, 16), vshrn_n_u32(high, 16)));
  }
  return table;
}

// Pair kPair of a unit, of 4 rows; in both halves of a word a code becomes the indices of its two bytes.
template <int kBits, int kPair>
inline QZ_INLINE uint32x4_t pair_of(const Words words[4], const uint8x16x2_t& table) {
  constexpr bool kSpread = kBits == 3 && kPair == 15;
  constexpr BitPlace kPlace = kSpread ? BitPlace{3, 0} : bit_place(kBits, 2 * kPair, 0);
  const Words codes = words[kPlace.line] >> kPlace.bit & 0x00010001u * ((1u << kBits) - 1);
  const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x01000100u), codes, 0x0202u);
  return vreinterpretq_u32_u8(vqtbl2q_u8(table, vreinterpretq_u8_u32(bytes)));
}

inline QZ_INLINE bfloat16x8_t pairs(uint32x4_t words) { return vreinterpretq_bf16_u32(words); }

inline QZ_INLINE float32x4_t multiply(float32x4_t sum, uint32x4_t weights, uint32x4_t x) {
  return vbfmmlaq_f32(sum, pairs(weights), pairs(x));
}

// What a group adds to the results: out[4 rows] += scale * (total - offset * sum of x).
struct Scaled {
  Vec scale, offset;
  Scaled(const TileView& w, int64_t at)
      : scale(Vectors::as_f32(w.scales, w.scale_type, at)),
        offset(w.offsets ? Vectors::as_f32(w.offsets, w.offset_type, at) : Vec{}) {}
  inline QZ_INLINE void add(const TileView& w, Vec total, float x_sum, float* to) const {
    if (w.offsets) total -= offset * x_sum;
    Vectors::store(to, Vectors::fma(scale, total, Vectors::load(to)));
  }
};

template <int kBits>
void product_pairs_of_one(const TileView& w, const uint32_t* x, const float* sums, float* out) {
  constexpr TileLayout kLayout = tile_layout(kBits);
  const uint8x16x2_t table = table_of(w);
  for (int64_t first = 0; first < kTileRows; first += 4) {
    Vectors::store(out + first, Vec{});
    const uint32_t* line = w.lines + first;
    const uint32_t* xk = x;
    for (int64_t g = 0; g < w.groups; ++g) {
      float32x4_t sum[4] = {};  // added up apart, so that an addition does not wait for the one before it
      for (int64_t k = w.starts[g]; k < w.starts[g + 1]; k += kLayout.columns) {
        __builtin_prefetch(line + 128 * kLineWords);
        Words words[4];
        load_unit<kBits, Vectors>(line, words);
        unrolled<0, kLayout.columns / 2>([&]<int kPair>() QZ_INLINE {
          float32x4_t& to = sum[kPair % 4];
          to = vbfdotq_f32(to, pairs(pair_of<kBits, kPair>(words, table)), pairs(vdupq_n_u32(xk[kPair])));
        });
        line += kLayout.lines * kLineWords;
        xk += kLayout.columns / 2;
      }
      Scaled(w, g * kTileRows + first).add(w, (sum[0] + sum[1]) + (sum[2] + sum[3]), sums[g], out + first);
    }
  }
}

template <int kBits, int kColumns>
void product_pairs_of(const TileView& w, const uint32_t* x, const float* sums, float* out) {
  using All = Squares<float32x4_t, kColumns>;
  constexpr TileLayout kLayout = tile_layout(kBits);
  constexpr int kVectors = All::kRows / 4;
  const uint8x16x2_t table = table_of(w);
  for (int64_t i = 0; i < kColumns * kTileRows; i += 4) Vectors::store(out + i, Vec{});
  for (int64_t start = 0; start < kTileRows; start += All::kRows) {
    const uint32_t* line = w.lines + start;
    const uint32_t* xk = x;
    for (int64_t g = 0; g < w.groups; ++g) {
      All squares;
      squares.clear();
      for (int64_t k = w.starts[g]; k < w.starts[g + 1]; k += kLayout.columns) {
        __builtin_prefetch(line + 128 * kLineWords);
        Words words[kVectors][4];
#pragma GCC unroll 4
        for (int r = 0; r < kVectors; ++r) load_unit<kBits, Vectors>(line + 4 * r, words[r]);
        unrolled<0, kLayout.columns / 4>([&]<int kTwo>() QZ_INLINE {
          uint32x4_t first[kVectors], second[kVectors];
#pragma GCC unroll 4
          for (int r = 0; r < kVectors; ++r) {
            first[r] = pair_of<kBits, 2 * kTwo>(words[r], table);
            second[r] = pair_of<kBits, 2 * kTwo + 1>(words[r], table);
          }
          squares.add(first, second, xk + 2 * kTwo * kColumns, xk + (2 * kTwo + 1) * kColumns, multiply);
        });
        line += kLayout.lines * kLineWords;
        xk += kLayout.columns / 2 * kColumns;
      }
#pragma GCC unroll 4
      for (int r = 0; r < kVectors; ++r) {
        const Scaled scaled(w, g * kTileRows + start + 4 * r);
#pragma GCC unroll 8
        for (int c = 0; c < kColumns; ++c) {
          scaled.add(w, vreinterpretq_f32_u32(squares.column(r, c)), sums[g * kColumns + c],
                     out + c * kTileRows + start + 4 * r);
        }
      }
    }
  }
}

template <int kBits>
void product_pairs_columns(const TileView& w, const uint32_t* x, const float* sums, int64_t columns, float* out) {
  using Product = void (*)(const TileView&, const uint32_t*, const float*, float*);
  static constexpr Product kProducts[kMostColumns] = {
      product_pairs_of_one<kBits>, product_pairs_of<kBits, 2>, product_pairs_of<kBits, 3>, product_pairs_of<kBits, 4>,
      product_pairs_of<kBits, 5>,  product_pairs_of<kBits, 6>, product_pairs_of<kBits, 7>, product_pairs_of<kBits, 8>};
  kProducts[columns - 1](w, x, sums, out);
}

void product_pairs(const TileView& w, const uint32_t* x, const float* sums, int64_t columns, float* out) {
  if (w.bits == 2) return product_pairs_columns<2>(w, x, sums, columns, out);
  if (w.bits == 3) return product_pairs_columns<3>(w, x, sums, columns, out);
  product_pairs_columns<4>(w, x, sums, columns, out);
}

}  // namespace

extern const LowBitPairKernels kLowBitPairsNeonBf16;
const LowBitPairKernels kLowBitPairsNeonBf16 = {product_pairs};

}  // namespace qz
#endif
