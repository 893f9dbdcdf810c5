// NEON of any 64-bit Arm: a tile is four times 4 rows. Codes of up to 4 bits are looked up in the 64 bytes of four
// registers; a word of indices is its code, times 4, in every byte, and the byte's number.
#if defined(__aarch64__)
#include "kernels/low_bit_neon.h"

#include "kernels/low_bit_body.h"
#include "kernels/low_bit_bytes_body.h"

namespace qz {
namespace {

struct Isa : Vectors {
  typedef uint8x16x4_t Table;
  static inline QZ_INLINE Table table(const TileView& w) {
    Table t = {};
    if (w.bits == 8) return t;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) t.val[i] = vreinterpretq_u8_f32(vld1q_f32(w.table + 4 * i));
    return t;
  }
  // A byte is brought to the top of its word: an integer 2^24 times the code - 128.
  template <int kBits>
  static constexpr float unit() {
    return kBits == 8 ? 0x1p-24f : 1.0f;
  }
  template <int kBits, int kShift>
  static inline QZ_INLINE Vec value(Words words, const Table& table) {
    if constexpr (kBits == 8) {
      const Words top = ((words << (24 - kShift)) & 0xFF000000u) ^ 0x80000000u;
      return to_f32(top);
    } else {
      const Words code = words >> kShift & ((1u << kBits) - 1);
      const Words bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100u), code, 0x04040404u);
      return vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)));
    }
  }
  // Bytes become 16-bit integers, even and odd ones apart: 255 times -128 still is one, so that their products, too,
  // are exact.
  static inline QZ_INLINE Words dot(Words sum, Words codes, uint32_t x) {
    const int16x8_t even = vreinterpretq_s16_u32(codes & 0x00FF00FFu),
                    odd = vreinterpretq_s16_u32(codes >> 8 & 0x00FF00FFu);
    const int16x8_t bytes = vreinterpretq_s16_u32(vdupq_n_u32(x));
    const int16x8_t x_even = vshrq_n_s16(vshlq_n_s16(bytes, 8), 8), x_odd = vshrq_n_s16(bytes, 8);
    int32x4_t total = vreinterpretq_s32_u32(sum);
    total = vpadalq_s16(total, vmulq_s16(even, x_even));
    total = vpadalq_s16(total, vmulq_s16(odd, x_odd));
    return vreinterpretq_u32_s32(total);
  }
};

}  // namespace

extern const LowBitKernels kLowBitNeon;
extern const LowBitByteKernels kLowBitBytesNeon;
const LowBitKernels kLowBitNeon = {product<Isa>, expand<Isa>};
const LowBitByteKernels kLowBitBytesNeon = {product_bytes<Isa>};

}  // namespace qz
#endif
