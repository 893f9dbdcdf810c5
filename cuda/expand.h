// Codes to floats: a word of eight 4-bit codes to the four registers of an A fragment, exactly code - zero.
//
// A 16-bit float whose last mantissa bits count ones takes a code by OR: 1024 + code in F16 (0x6400), 128 + code in
// BF16 (0x4300). Taking (base + zero) off again is exact, because both are whole numbers below 2^11 and 2^8. The zero
// point is never folded into a multiplication by the scale: that would cancel digits.
#pragma once
#include "packed/layout.h"

namespace qz::cuda {

struct Half {
  static constexpr uint32_t kBase = 0x64006400u;
};
struct Brain {
  static constexpr uint32_t kBase = 0x43004300u;
};

// -(base + zero) in both halves; zero: 0 ... 15.
template <class Type>
QZ_BOTH constexpr uint32_t minus_zero(uint32_t zero) {
  return Type::kBase | zero | zero << 16 | 0x80008000u;
}

// upper, lower: minus_zero() of rows l / 4 and l / 4 + 8.
template <class Type, class Ops>
QZ_BOTH inline void expand_word(Ops& ops, uint32_t word, uint32_t upper, uint32_t lower, uint32_t (&a)[4]) {
  a[0] = ops.template add2<Type>(ops.and_or(word, 0x000f000fu, Type::kBase), upper);
  a[1] = ops.template add2<Type>(ops.and_or(word >> 4, 0x000f000fu, Type::kBase), lower);
  a[2] = ops.template add2<Type>(ops.and_or(word >> 8, 0x000f000fu, Type::kBase), upper);
  a[3] = ops.template add2<Type>(ops.and_or(word >> 12, 0x000f000fu, Type::kBase), lower);
}

}  // namespace qz::cuda
