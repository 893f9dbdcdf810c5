// Pairs of weights in bfloat16 out of lines of codes: a shift and a look-up in 32 16-bit words make those of 16 rows.
// For the files with AVX-512 BW; in an unnamed namespace, since code compiled for a newer instruction set must not
// reach the linker under a name that another file also uses.
#pragma once
#include "kernels/low_bit_avx512.h"

namespace qz {
namespace {

// The upper halves of 16 floats, with a period that lets the look-up ignore what stands above a code.
inline QZ_INLINE __m512i pair_table(const float* values) {
  typedef uint16_t Halves __attribute__((vector_size(32)));
  const auto bits = reinterpret_cast<Vectors::Words>(Vectors::load(values));
  const Halves half = __builtin_convertvector(bits >> 16, Halves);
  return reinterpret_cast<__m512i>(__builtin_shufflevector(half, half, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                                                           15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
                                                           30, 31));
}

// The words of a unit; at 3 bits words[3] holds the pair that is spread over the others.
template <int kBits>
inline QZ_INLINE void load_pair_unit(const uint32_t* unit, Vectors::Words words[4]) {
  words[0] = Vectors::load_words(unit);
  if constexpr (kBits == 3) {
    words[1] = Vectors::load_words(unit + kLineWords);
    words[2] = Vectors::load_words(unit + 2 * kLineWords);
    words[3] = (words[0] >> 15 & 0x00010001u) | (words[1] >> 14 & 0x00020002u) | (words[2] >> 13 & 0x00040004u);
  }
}

// Where codes 2 * pair and 2 * pair + 1 of a unit are the low bits of halves: of up to 4 bits.
template <int kBits, int kPair>
inline QZ_INLINE __m512i pair_places(const Vectors::Words words[4]) {
  constexpr bool kSpread = kBits == 3 && kPair == 15;
  constexpr BitPlace kPlace = kSpread ? BitPlace{3, 0} : bit_place(kBits, 2 * kPair, 0);
  return reinterpret_cast<__m512i>(words[kPlace.line] >> kPlace.bit);
}

inline QZ_INLINE __m512i look_up_pairs(__m512i places, __m512i table) {
  return _mm512_maskz_permutexvar_epi16(~__mmask32{0}, places, table);
}

}  // namespace
}  // namespace qz
