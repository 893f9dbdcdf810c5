// AVX-512: 16 rows at once; codes of up to 4 bits are looked up in a register of 16 floats, of which the permutation
// reads the low 4 bits of each word, so that nothing has to be masked off.
#if defined(__x86_64__)
#include "kernels/low_bit_avx512.h"
#include "kernels/low_bit_body.h"
#include "kernels/low_bit_bytes_body.h"

namespace qz {
namespace {

struct Isa : Vectors {
  typedef Vec Table;
  static inline QZ_INLINE Table table(const TileView& w) { return w.bits == 8 ? Vec{} : load(w.table); }
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
      return _mm512_maskz_permutexvar_ps(0xFFFF, reinterpret_cast<__m512i>(words >> kShift), table);
    }
  }
  // Bytes become halves of words, even and odd ones apart: exact, where a product of bytes would saturate.
  static inline QZ_INLINE Words dot(Words sum, Words codes, uint32_t x) {
    const auto even = reinterpret_cast<__m512i>(codes & 0x00FF00FFu);
    const auto odd = reinterpret_cast<__m512i>(codes >> 8 & 0x00FF00FFu);
    const auto low = static_cast<uint32_t>(static_cast<uint16_t>(static_cast<int8_t>(x))) |
                     static_cast<uint32_t>(static_cast<uint16_t>(static_cast<int8_t>(x >> 16))) << 16;
    const auto high = static_cast<uint32_t>(static_cast<uint16_t>(static_cast<int8_t>(x >> 8))) |
                      static_cast<uint32_t>(static_cast<uint16_t>(static_cast<int8_t>(x >> 24))) << 16;
    return sum + reinterpret_cast<Words>(_mm512_madd_epi16(even, reinterpret_cast<__m512i>(low - Words{}))) +
           reinterpret_cast<Words>(_mm512_madd_epi16(odd, reinterpret_cast<__m512i>(high - Words{})));
  }
};

}  // namespace

extern const LowBitKernels kLowBitAvx512;
extern const LowBitByteKernels kLowBitBytesAvx512;
const LowBitKernels kLowBitAvx512 = {product<Isa>, expand<Isa>};
const LowBitByteKernels kLowBitBytesAvx512 = {product_bytes<Isa>};

}  // namespace qz
#endif
