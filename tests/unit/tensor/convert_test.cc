#include "tensor/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace qz {
namespace {

uint32_t bits(float v) {
  uint32_t u;
  std::memcpy(&u, &v, 4);
  return u;
}

float from_bits(uint32_t u) {
  float v;
  std::memcpy(&v, &u, 4);
  return v;
}

// IEEE 754-2008 binary16, from its definition.
double f16_value(uint16_t v) {
  const int exponent = (v >> 10) & 31, mantissa = v & 1023;
  const double sign = v & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) {
    return mantissa ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

bool is_nan16(uint16_t v) { return (v & 0x7FFF) > 0x7C00; }

TEST(ConvertTest, EveryHalfHasItsValueAndComesBack) {
  for (uint32_t u = 0; u < 65536; ++u) {
    const auto v = static_cast<uint16_t>(u);
    const float f = f16_to_f32(v);
    if (is_nan16(v)) {
      EXPECT_TRUE(std::isnan(f)) << u;
      EXPECT_TRUE(bits(f) & 0x00400000u) << u << ": a signalling NaN must become quiet";
      EXPECT_EQ(bits(f) & 0x803FE000u, (u & 0x8000u) << 16 | (u & 0x1FFu) << 13) << u << ": payload and sign stay";
      EXPECT_EQ(f32_to_f16(f), v | 0x0200) << u;
    } else {
      EXPECT_EQ(static_cast<double>(f), f16_value(v)) << u;
      EXPECT_EQ(std::signbit(f), (u & 0x8000) != 0) << u;
      EXPECT_EQ(f32_to_f16(f), v) << u;
    }
  }
}

// Around every pair of neighbours: the middle goes to the even one, a hair off the middle to the nearer one.
TEST(ConvertTest, HalvesRoundToNearestEven) {
  for (uint32_t u = 0; u < 0x7C00; ++u) {
    const auto low = static_cast<uint16_t>(u), high = static_cast<uint16_t>(u + 1);
    // The value "above" the largest finite half is 65536, as if the exponent went on.
    const double above = high == 0x7C00 ? 65536.0 : f16_value(high);
    const auto middle = static_cast<float>((f16_value(low) + above) / 2);
    const uint16_t even = low % 2 == 0 ? low : high;
    for (const uint32_t sign : {0u, 0x8000u}) {
      const float s = sign ? -1.0f : 1.0f;
      ASSERT_EQ(f32_to_f16(s * middle), even | sign) << u;
      ASSERT_EQ(f32_to_f16(s * std::nextafter(middle, 0.0f)), low | sign) << u;
      ASSERT_EQ(f32_to_f16(s * std::nextafter(middle, 1e9f)), high | sign) << u;
    }
  }
}

TEST(ConvertTest, HalvesOverflowToInfinity) {
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::max()), 0x7C00);
  EXPECT_EQ(f32_to_f16(-std::numeric_limits<float>::infinity()), 0xFC00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::denorm_min()), 0);
}

// The bulk conversion may use the processor's instructions, which we did not write: the same bits for one float in 257.
TEST(ConvertTest, BulkEqualsOneByOne) {
  std::vector<float> source;
  std::vector<uint16_t> half, brain;
  for (uint64_t start = 0; start < (1ull << 32);) {
    source.clear();
    for (; source.size() < 65536 + 3 && start < (1ull << 32); start += 257) {
      source.push_back(from_bits(static_cast<uint32_t>(start)));
    }
    half.resize(source.size());
    brain.resize(source.size());
    from_f32(source.data(), DType::kF16, source.size(), half.data());
    from_f32(source.data(), DType::kBF16, source.size(), brain.data());
    for (size_t i = 0; i < source.size(); ++i) {
      ASSERT_EQ(half[i], f32_to_f16(source[i])) << std::hex << bits(source[i]);
      ASSERT_EQ(brain[i], f32_to_bf16(source[i])) << std::hex << bits(source[i]);
    }
  }
  std::vector<uint16_t> all(65536);
  for (uint32_t u = 0; u < 65536; ++u) all[u] = static_cast<uint16_t>(u);
  std::vector<float> wide(all.size());
  to_f32(all.data(), DType::kF16, all.size(), wide.data());
  for (uint32_t u = 0; u < 65536; ++u) ASSERT_EQ(bits(wide[u]), bits(f16_to_f32(all[u]))) << u;
  to_f32(all.data(), DType::kBF16, all.size(), wide.data());
  for (uint32_t u = 0; u < 65536; ++u) ASSERT_EQ(bits(wide[u]), u << 16) << u;
}

TEST(ConvertTest, BrainFloatsRoundToNearestEven) {
  for (uint32_t u = 0; u < 0x7F80; ++u) {
    const uint32_t low = u << 16;
    const uint32_t even = u % 2 == 0 ? u : u + 1;
    for (const uint32_t sign : {0u, 0x8000u}) {
      ASSERT_EQ(f32_to_bf16(from_bits(sign << 16 | low)), u | sign);
      ASSERT_EQ(f32_to_bf16(from_bits(sign << 16 | low | 0x7FFF)), u | sign);
      ASSERT_EQ(f32_to_bf16(from_bits(sign << 16 | low | 0x8000)), even | sign);
      ASSERT_EQ(f32_to_bf16(from_bits(sign << 16 | low | 0x8001)), (u + 1) | sign);
    }
  }
  EXPECT_EQ(f32_to_bf16(from_bits(0x7F800001)), 0x7FC0);  // a NaN whose payload would round away
  EXPECT_EQ(f32_to_bf16(from_bits(0xFFFFFFFF)), 0xFFFF);
  EXPECT_EQ(f32_to_bf16(from_bits(0xFF800000)), 0xFF80);
}

TEST(ConvertTest, AnyAlignmentAndLength) {
  std::vector<uint8_t> bytes(200);
  std::mt19937 random(1);
  for (auto& b : bytes) b = static_cast<uint8_t>(random());
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const size_t size = dtype_bits(dtype) / 8;
    for (size_t offset = 0; offset < 4; ++offset) {
      for (size_t n = 0; n <= 40; ++n) {
        std::vector<float> wide(n + 1, 7.0f);
        to_f32(bytes.data() + offset, dtype, n, wide.data());
        EXPECT_EQ(wide[n], 7.0f);
        for (size_t i = 0; i < n; ++i) {
          uint32_t u = 0;
          std::memcpy(&u, bytes.data() + offset + i * size, size);
          const float expected = dtype == DType::kF32   ? from_bits(u)
                                 : dtype == DType::kF16 ? f16_to_f32(static_cast<uint16_t>(u))
                                                        : bf16_to_f32(static_cast<uint16_t>(u));
          ASSERT_EQ(bits(wide[i]), bits(expected));
        }
        std::vector<uint8_t> back(n * size + offset + 1, 0xA5);
        from_f32(wide.data(), dtype, n, back.data() + offset);
        EXPECT_EQ(back[n * size + offset], 0xA5);
        for (size_t i = 0; i < n; ++i) {
          if (!std::isnan(wide[i])) {
            ASSERT_EQ(std::memcmp(&back[offset + i * size], &bytes[offset + i * size], size), 0);
          }
        }
      }
    }
  }
}

TEST(ConvertTest, RoundTo) {
  EXPECT_EQ(round_to(0.1f, DType::kF32), 0.1f);
  EXPECT_EQ(round_to(0.1f, DType::kF16), 0.0999755859375f);  // numpy.float16(0.1)
  EXPECT_EQ(round_to(0.1f, DType::kBF16), 0.10009765625f);   // torch.tensor(0.1, dtype=torch.bfloat16)
}

}  // namespace
}  // namespace qz
