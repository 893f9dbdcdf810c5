// Every word that differs: the sequence that turns codes into floats is exact, for both types and all zero points.
#include "expand.h"

#include <gtest/gtest.h>

#include "emulator.h"
#include "tensor/convert.h"

namespace qz::cuda {
namespace {

template <class Type>
float half(uint32_t pair, int32_t which) {
  const auto bits = static_cast<uint16_t>(pair >> 16 * which);
  return std::is_same_v<Type, Half> ? f16_to_f32(bits) : bf16_to_f32(bits);
}

template <class Type>
void check() {
  HostOps ops(nullptr, 0);
  for (uint32_t zero = 0; zero < 16; ++zero) {
    const uint32_t upper = minus_zero<Type>(zero), lower = minus_zero<Type>(15 - zero);
    EXPECT_EQ(half<Type>(upper, 0), -half<Type>(Type::kBase, 0) - static_cast<float>(zero));
    for (uint32_t low = 0; low < 1u << 16; ++low) {
      const uint32_t word = low | (low * 40503u & 0xffff) << 16;  // odd: all 2^16 upper halves come, too
      uint32_t a[4];
      expand_word<Type>(ops, word, upper, lower, a);
      for (uint32_t nibble = 0; nibble < 8; ++nibble) {
        const uint32_t reg = nibble % 4, point = reg % 2 ? 15 - zero : zero;
        const auto want = static_cast<float>(word >> 4 * nibble & 15) - static_cast<float>(point);
        ASSERT_EQ(half<Type>(a[reg], static_cast<int32_t>(nibble / 4)), want) << std::hex << word << " - " << point;
      }
    }
  }
}

TEST(ExpandTest, F16IsExact) { check<Half>(); }
TEST(ExpandTest, BF16IsExact) { check<Brain>(); }

}  // namespace
}  // namespace qz::cuda
