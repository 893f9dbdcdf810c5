// How codes of less than a byte lie in 32-bit words. One line of codes becomes packed_words() words; unused bits are
// zero. All three are little-endian, so words and bytes are the same thing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace qz {

enum class Packing {
  kStream,  // code i at bits [i * bits, (i + 1) * bits) of the line: codes may cross words (GPTQ, compressed-tensors
            // 0.17)
  kPadded,  // 32 / bits whole codes in a word, the rest of the word unused (compressed-tensors before 0.17)
  kPlanar,  // 32 codes in `bits` words, the low bits of all of them first: 3 = 2+1, 5 = 4+1, 6 = 4+2, 7 = 4+2+1
            // (GPTQModel's gptq_p)
};

// n >= 0 codes of `bits` 1 … 8.
int64_t packed_words(Packing packing, int64_t n, int32_t bits);
// codes: n values below 2^bits. words: packed_words() * 4 bytes at any alignment, all written.
void pack(Packing packing, const uint8_t* codes, int64_t n, int32_t bits, uint8_t* words);
void unpack(Packing packing, const uint8_t* words, int64_t n, int32_t bits, uint8_t* codes);

// codes [lines][n] -> words [packed_words(n)][lines]: each line runs down a column (GPTQ's qweight).
void pack_down(Packing packing, const uint8_t* codes, int64_t lines, int64_t n, int32_t bits, uint8_t* words);
void unpack_down(Packing packing, const uint8_t* words, int64_t lines, int64_t n, int32_t bits, uint8_t* codes);

// [rows][cols] -> [cols][rows].
template <class T>
std::vector<T> transposed(const std::vector<T>& m, int64_t rows, int64_t cols) {
  std::vector<T> t(m.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) t[static_cast<size_t>(c * rows + r)] = m[static_cast<size_t>(r * cols + c)];
  return t;
}

}  // namespace qz
