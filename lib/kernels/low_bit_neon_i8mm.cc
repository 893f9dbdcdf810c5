// NEON with the 8-bit matrix products of Armv8.6: USMMLA multiplies 2 rows of 8 unsigned with 2 columns of 8 signed
// bytes and adds to 32-bit integers. A single column, which would be half of its work, takes USDOT.
#if defined(__aarch64__)
#include "kernels/low_bit_neon_squares.h"

#include "kernels/low_bit_bytes_body.h"

namespace qz {
namespace {

struct Isa : Vectors {
  static inline QZ_INLINE Words dot(Words sum, Words codes, uint32_t x) {
    return vreinterpretq_u32_s32(
        vusdotq_s32(vreinterpretq_s32_u32(sum), vreinterpretq_u8_u32(codes), vreinterpretq_s8_u32(vdupq_n_u32(x))));
  }
};

inline QZ_INLINE int32x4_t multiply(int32x4_t sum, uint32x4_t codes, uint32x4_t x) {
  return vusmmlaq_s32(sum, vreinterpretq_u8_u32(codes), vreinterpretq_s8_u32(x));
}

// Adds places [begin, end) of a group; line and x stand at its first.
template <int kBits, int kColumns>
inline QZ_INLINE void add_group(int64_t begin, int64_t end, const uint32_t*& line, const uint32_t*& x,
                                Squares<int32x4_t, kColumns>& squares) {
  constexpr int kVectors = rows_of_squares(kColumns) / 4;
  constexpr uint32_t kMask = 0x01010101u * ((1u << kBits) - 1);
  uint32x4_t first[kVectors], second[kVectors];
  if constexpr (kBits == 8) {  // a unit is one word: two units, and at the end of a group perhaps one
    for (int64_t k = begin; k < end; k += 8) {
      const bool two = k + 4 < end;
      __builtin_prefetch(line + 64 * kLineWords);
#pragma GCC unroll 4
      for (int r = 0; r < kVectors; ++r) {
        first[r] = vld1q_u32(line + 4 * r);
        second[r] = two ? vld1q_u32(line + kLineWords + 4 * r) : vdupq_n_u32(0);
      }
      squares.add(first, second, x, two ? x + kColumns : x, multiply);
      line += (two ? 2 : 1) * kLineWords;
      x += (two ? 2 : 1) * kColumns;
    }
  } else {
    constexpr int kWords = tile_layout(kBits).columns / 4;
    for (int64_t k = begin; k < end; k += tile_layout(kBits).columns) {
      __builtin_prefetch(line + 64 * kLineWords);
      unrolled<0, kWords / 2>([&]<int kTwo>() QZ_INLINE {
#pragma GCC unroll 4
        for (int r = 0; r < kVectors; ++r) {
          const uint32x4_t lane = vld1q_u32(line + 4 * r);
          first[r] = lane >> (2 * kTwo * kBits) & kMask;
          second[r] = lane >> ((2 * kTwo + 1) * kBits) & kMask;
        }
        squares.add(first, second, x + 2 * kTwo * kColumns, x + (2 * kTwo + 1) * kColumns, multiply);
      });
      line += kLineWords;
      x += kWords * kColumns;
    }
  }
}

template <int kBits, int kColumns>
void product_squares_of(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums, float* out) {
  using All = Squares<int32x4_t, kColumns>;
  using Vec = Vectors::Vec;
  const auto base = static_cast<uint32_t>(kBits == 8 ? 128 : -static_cast<int32_t>(w.table[0]));
  for (int64_t c = 0; c < kColumns * kTileRows; c += 4) Vectors::store(out + c, Vec{});
  for (int64_t start = 0; start < kTileRows; start += All::kRows) {
    const uint32_t* line = w.lines + start;
    const uint32_t* xk = x;
    for (int64_t g = 0; g < w.groups; ++g) {
      All squares;
      squares.clear();
      add_group<kBits, kColumns>(w.starts[g], w.starts[g + 1], line, xk, squares);
#pragma GCC unroll 4
      for (int r = 0; r < All::kRows / 4; ++r) {
        const int64_t row = start + 4 * r, at = g * kTileRows + row;
        const Vec scale = Vectors::as_f32(w.scales, w.scale_type, at);
        const Vec offset = w.offsets ? Vectors::as_f32(w.offsets, w.offset_type, at) : Vec{};
#pragma GCC unroll 8
        for (int c = 0; c < kColumns; ++c) {
          const int32_t x_sum = sums[g * kColumns + c];
          Vec exact = Vectors::to_f32(squares.column(r, c) - base * static_cast<uint32_t>(x_sum));
          if (w.offsets) exact -= offset * static_cast<float>(x_sum);
          float* to = out + c * kTileRows + row;
          Vectors::store(to, Vectors::fma(scale * factors[g * kColumns + c], exact, Vectors::load(to)));
        }
      }
    }
  }
}

template <int kBits>
void product_squares_columns(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums,
                             int64_t columns, float* out) {
  using Product = void (*)(const TileView&, const uint32_t*, const float*, const int32_t*, float*);
  static constexpr Product kProducts[kMostColumns] = {product_bytes_of<kBits, 1, Isa>, product_squares_of<kBits, 2>,
                                                      product_squares_of<kBits, 3>,    product_squares_of<kBits, 4>,
                                                      product_squares_of<kBits, 5>,    product_squares_of<kBits, 6>,
                                                      product_squares_of<kBits, 7>,    product_squares_of<kBits, 8>};
  kProducts[columns - 1](w, x, factors, sums, out);
}

void product_squares(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums, int64_t columns,
                     float* out) {
  if (w.bits == 2) return product_squares_columns<2>(w, x, factors, sums, columns, out);
  if (w.bits == 4) return product_squares_columns<4>(w, x, factors, sums, columns, out);
  product_squares_columns<8>(w, x, factors, sums, columns, out);
}

}  // namespace

extern const LowBitByteKernels kLowBitBytesNeonI8mm;
const LowBitByteKernels kLowBitBytesNeonI8mm = {product_squares};

}  // namespace qz
#endif
