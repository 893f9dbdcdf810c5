#include "format/bits.h"

#include <gtest/gtest.h>

#include <random>

namespace qz {
namespace {

std::vector<uint8_t> random_codes(int64_t n, int32_t bits, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> codes(static_cast<size_t>(n));
  for (uint8_t& c : codes) c = static_cast<uint8_t>(random() & ((1u << bits) - 1));
  return codes;
}

bool bit_of(const std::vector<uint8_t>& words, int64_t at) {
  return words[static_cast<size_t>(at / 8)] >> (at % 8) & 1;
}

// Where bit b of code i lies, by the definition of each packing.
int64_t position(Packing packing, int64_t i, int32_t bits, int32_t b) {
  if (packing == Packing::kStream) return i * bits + b;
  if (packing == Packing::kPadded) return i / (32 / bits) * 32 + i % (32 / bits) * bits + b;
  const std::vector<int> planes = bits == 3   ? std::vector<int>{2, 1}
                                  : bits == 5 ? std::vector<int>{4, 1}
                                  : bits == 6 ? std::vector<int>{4, 2}
                                  : bits == 7 ? std::vector<int>{4, 2, 1}
                                              : std::vector<int>{bits};
  int32_t low = 0;
  for (int width : planes) {
    if (b < low + width) return i / 32 * 32 * bits + 32 * low + i % 32 * width + b - low;
    low += width;
  }
  return -1;
}

TEST(Bits, EveryWidthAndLengthIsWhereItsDefinitionSays) {
  for (Packing packing : {Packing::kStream, Packing::kPadded, Packing::kPlanar})
    for (int32_t bits = 1; bits <= 8; ++bits)
      for (int64_t n = 0; n <= 130; ++n) {
        const std::vector<uint8_t> codes = random_codes(n, bits, static_cast<uint32_t>(1000 * bits + n));
        const size_t bytes = static_cast<size_t>(packed_words(packing, n, bits)) * 4;
        std::vector<uint8_t> words(bytes + 1, 0xA5);  // one more, to see that it is left alone
        pack(packing, codes.data(), n, bits, words.data());
        ASSERT_EQ(words[bytes], 0xA5);
        std::vector<uint8_t> expected(bytes + 1);
        for (int64_t i = 0; i < n; ++i)
          for (int32_t b = 0; b < bits; ++b) {
            const int64_t at = position(packing, i, bits, b);
            ASSERT_LT(at, static_cast<int64_t>(bytes) * 8);
            ASSERT_FALSE(bit_of(expected, at));
            if (codes[static_cast<size_t>(i)] >> b & 1) expected[static_cast<size_t>(at / 8)] |= 1 << (at % 8);
          }
        expected[bytes] = 0xA5;
        ASSERT_EQ(words, expected) << static_cast<int>(packing) << " " << bits << " bits, " << n;
        std::vector<uint8_t> back(codes.size() + 1, 0xA5);
        unpack(packing, words.data(), n, bits, back.data());
        ASSERT_EQ(back.back(), 0xA5);
        back.pop_back();
        ASSERT_EQ(back, codes) << static_cast<int>(packing) << " " << bits << " bits, " << n;
      }
}

TEST(Bits, DownIsEachLineTurned) {
  for (Packing packing : {Packing::kStream, Packing::kPadded, Packing::kPlanar})
    for (int64_t lines : {1, 15, 16, 17, 40}) {
      const int64_t n = 96;
      const int32_t bits = 3;
      const std::vector<uint8_t> codes = random_codes(lines * n, bits, 7);
      const int64_t height = packed_words(packing, n, bits);
      std::vector<uint8_t> words(static_cast<size_t>(height * lines * 4));
      pack_down(packing, codes.data(), lines, n, bits, words.data());
      for (int64_t l = 0; l < lines; ++l) {
        std::vector<uint8_t> line(static_cast<size_t>(height * 4));
        pack(packing, codes.data() + l * n, n, bits, line.data());
        for (int64_t i = 0; i < height * 4; ++i)
          ASSERT_EQ(words[static_cast<size_t>((i / 4 * lines + l) * 4 + i % 4)], line[static_cast<size_t>(i)]);
      }
      std::vector<uint8_t> back(codes.size());
      unpack_down(packing, words.data(), lines, n, bits, back.data());
      EXPECT_EQ(back, codes);
    }
}

TEST(Bits, Transposed) {
  EXPECT_EQ(transposed(std::vector<int>{1, 2, 3, 4, 5, 6}, 2, 3), (std::vector<int>{1, 4, 2, 5, 3, 6}));
}

}  // namespace
}  // namespace qz
