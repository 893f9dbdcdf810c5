// AVX-512 VNNI: VPDPBUSD multiplies four unsigned with four signed bytes and adds all products to a 32-bit integer.
#if defined(__x86_64__)
#include "kernels/low_bit_avx512.h"
#include "kernels/low_bit_bytes_body.h"

namespace qz {
namespace {

struct Isa : Vectors {
  static inline QZ_INLINE Words dot(Words sum, Words codes, uint32_t x) {
    return reinterpret_cast<Words>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(codes),
                                                       reinterpret_cast<__m512i>(x - Words{})));
  }
};

}  // namespace

extern const LowBitByteKernels kLowBitBytesAvx512Vnni;
const LowBitByteKernels kLowBitBytesAvx512Vnni = {product_bytes<Isa>};

}  // namespace qz
#endif
