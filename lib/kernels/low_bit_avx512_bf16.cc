// AVX-512 BF16: a shift and a look-up in 32 16-bit words make 16 pairs of weights, VDPBF16PS multiplies them with a
// pair of x: products are exact, since codes less their middle are integers of up to 4 bits. float32 sums per group,
// scaled once at its end.
#if defined(__x86_64__)
#include "kernels/low_bit_pairs.h"

namespace qz {
namespace {

typedef Vectors::Words Words;
typedef Vectors::Vec Vec;

template <int kBits, int kPair>
inline QZ_INLINE __m512bh pair_of(const Words words[4], __m512i table) {
  const __m512i v = look_up_pairs(pair_places<kBits, kPair>(words), table);
  __m512bh pairs;
  __builtin_memcpy(&pairs, &v, sizeof pairs);
  return pairs;
}

inline QZ_INLINE __m512bh broadcast_pair(const uint32_t* p) {
  const __m512i v = _mm512_set1_epi32(static_cast<int>(*p));
  __m512bh pairs;
  __builtin_memcpy(&pairs, &v, sizeof pairs);
  return pairs;
}

// Sums that are added up apart, so that an addition does not wait for the one before it.
constexpr int sets_of_pairs(int columns) { return columns <= 3 ? 4 : columns <= 6 ? 2 : 1; }

template <int kBits, int kColumns>
void product_pairs_of(const TileView& w, const uint32_t* x, const float* sums, float* out) {
  constexpr TileLayout kLayout = tile_layout(kBits);
  constexpr int kSets = sets_of_pairs(kColumns);
  const __m512i table = pair_table(w.table);
  for (int64_t c = 0; c < kColumns; ++c) Vectors::store(out + c * kTileRows, Vec{});
  const uint32_t* line = w.lines;
  for (int64_t g = 0; g < w.groups; ++g) {
    __m512 sum[kSets][kColumns];
#pragma GCC unroll 4
    for (int s = 0; s < kSets; ++s) {
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) sum[s][c] = _mm512_setzero_ps();
    }
    for (int64_t k = w.starts[g]; k < w.starts[g + 1]; k += kLayout.columns) {
      __builtin_prefetch(line + 128 * kLineWords);
      Words words[4];
      load_pair_unit<kBits>(line, words);
      unrolled<0, kLayout.columns / 2>([&]<int kPair>() QZ_INLINE {
        const __m512bh pairs = pair_of<kBits, kPair>(words, table);
#pragma GCC unroll 8
        for (int c = 0; c < kColumns; ++c) {
          __m512& to = sum[kPair % kSets][c];
          to = _mm512_dpbf16_ps(to, pairs, broadcast_pair(x + kPair * kColumns + c));
        }
      });
      line += kLayout.lines * kLineWords;
      x += kLayout.columns / 2 * kColumns;
    }
    const Vec scale = Vectors::as_f32(w.scales, w.scale_type, g * kTileRows);
    const Vec offset = w.offsets ? Vectors::as_f32(w.offsets, w.offset_type, g * kTileRows) : Vec{};
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      Vec total = sum[0][c];
      if constexpr (kSets == 2) total += sum[1][c];
      if constexpr (kSets == 4) total = (total + sum[1][c]) + (sum[2][c] + sum[3][c]);
      if (w.offsets) total -= offset * sums[g * kColumns + c];
      float* to = out + c * kTileRows;
      Vectors::store(to, _mm512_fmadd_ps(scale, total, Vectors::load(to)));
    }
  }
}

template <int kBits>
void product_pairs_columns(const TileView& w, const uint32_t* x, const float* sums, int64_t columns, float* out) {
  using Product = void (*)(const TileView&, const uint32_t*, const float*, float*);
  static constexpr Product kProducts[kMostColumns] = {
      product_pairs_of<kBits, 1>, product_pairs_of<kBits, 2>, product_pairs_of<kBits, 3>, product_pairs_of<kBits, 4>,
      product_pairs_of<kBits, 5>, product_pairs_of<kBits, 6>, product_pairs_of<kBits, 7>, product_pairs_of<kBits, 8>};
  kProducts[columns - 1](w, x, sums, out);
}

void product_pairs(const TileView& w, const uint32_t* x, const float* sums, int64_t columns, float* out) {
  if (w.bits == 2) return product_pairs_columns<2>(w, x, sums, columns, out);
  if (w.bits == 3) return product_pairs_columns<3>(w, x, sums, columns, out);
  product_pairs_columns<4>(w, x, sums, columns, out);
}

}  // namespace

extern const LowBitPairKernels kLowBitPairsAvx512Bf16;
const LowBitPairKernels kLowBitPairsAvx512Bf16 = {product_pairs};

}  // namespace qz
#endif
