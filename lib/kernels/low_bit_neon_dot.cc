// NEON with the dot product of Armv8.2: SDOT multiplies four signed bytes with four signed bytes and adds all products
// to a 32-bit integer.
#if defined(__aarch64__)
#include "kernels/low_bit_neon.h"

#include "kernels/low_bit_bytes_body.h"

namespace qz {
namespace {

int32x4_t sdot(int32x4_t sum, uint32x4_t codes, uint32_t x) {
  return vdotq_s32(sum, vreinterpretq_s8_u32(codes), vreinterpretq_s8_u32(vdupq_n_u32(x)));
}

// Codes below 128 are signed bytes as they are.
struct Isa : Vectors {
  static inline QZ_INLINE Words dot(Words sum, Words codes, uint32_t x) {
    return vreinterpretq_u32_s32(sdot(vreinterpretq_s32_u32(sum), codes, x));
  }
};

// Others are, less 128, and -128 times x is subtracted again.
struct IsaOf8Bits : Vectors {
  static inline QZ_INLINE Words dot(Words sum, Words codes, uint32_t x) {
    const int32x4_t less = sdot(vreinterpretq_s32_u32(sum), codes ^ 0x80808080u, x);
    return vreinterpretq_u32_s32(vsubq_s32(less, sdot(vdupq_n_s32(0), vdupq_n_u32(0x80808080u), x)));
  }
};

void product_bytes_dot(const TileView& w, const uint32_t* x, const float* factors, const int32_t* sums, int64_t columns,
                       float* out) {
  if (w.bits == 8) return product_bytes_columns<8, IsaOf8Bits>(w, x, factors, sums, columns, out);
  product_bytes<Isa>(w, x, factors, sums, columns, out);
}

}  // namespace

extern const LowBitByteKernels kLowBitBytesNeonDot;
const LowBitByteKernels kLowBitBytesNeonDot = {product_bytes_dot};

}  // namespace qz
#endif
