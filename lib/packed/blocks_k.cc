// Layouts: ggml-common.h, block_q2_K … block_q6_K; the order of weights within the bytes: dequantize_row_* of
// ggml-quants.c.
#include "packed/blocks_k.h"

#include <cstring>

namespace qz {
namespace {

constexpr int kBlock = 256;

// 2-bit fields: byte l (of 32) of each half of a block holds weights l, l + 32, l + 64, l + 96 of that half.
struct Place {
  int byte, shift;
};
Place two_bits(int i) { return {32 * (i / 128) + i % 32, 2 * (i % 128 / 32)}; }
// 4-bit fields of Q4_K and Q5_K: 32 bytes hold 64 weights, the first 32 low.
Place four_bits(int i) { return {32 * (i / 64) + i % 32, 4 * (i % 64 / 32)}; }
// Those of Q6_K: 64 bytes hold 128 weights, the first 64 low.
Place six_low(int i) { return {64 * (i / 128) + i % 64, 4 * (i % 128 / 64)}; }

void put(uint8_t* bytes, Place at, int value) {
  bytes[at.byte] = static_cast<uint8_t>(bytes[at.byte] | value << at.shift);
}
int get(const uint8_t* bytes, Place at, int mask) { return bytes[at.byte] >> at.shift & mask; }

// u8 scales[16]: scale low, offset high; u8 qs[64]; f16 d, dmin.
void unpack_2(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b + 80), f->dmin = read_f16(b + 82);
  for (int p = 0; p < 16; ++p) f->scales[p] = b[p] & 15, f->mins[p] = b[p] >> 4;
  for (int i = 0; i < kBlock; ++i) f->codes[i] = static_cast<uint8_t>(get(b + 16, two_bits(i), 3));
}

void pack_2(const BlockFields& f, uint8_t* b) {
  std::memset(b, 0, 84);
  write_f16(f.d, b + 80), write_f16(f.dmin, b + 82);
  for (int p = 0; p < 16; ++p) b[p] = static_cast<uint8_t>(f.scales[p] | f.mins[p] << 4);
  for (int i = 0; i < kBlock; ++i) put(b + 16, two_bits(i), f.codes[i]);
}

// u8 hmask[32]: bit k of byte l is the third bit of weight 32 k + l; u8 qs[64]; u8 scales[12]; f16 d. Scales are 6 bits
// above -32: of scale j the low half in byte j % 8, the upper two bits in byte 8 + j % 4.
void unpack_3(const uint8_t* b, BlockFields* f) {
  const uint8_t* s = b + 96;
  f->d = read_f16(b + 108), f->dmin = 0;
  for (int p = 0; p < 16; ++p) {
    const int low = s[p % 8] >> (p < 8 ? 0 : 4) & 15, high = s[8 + p % 4] >> 2 * (p / 4) & 3;
    f->scales[p] = static_cast<int16_t>((low | high << 4) - 32), f->mins[p] = 0;
  }
  for (int i = 0; i < kBlock; ++i)
    f->codes[i] = static_cast<uint8_t>(get(b + 32, two_bits(i), 3) | (b[i % 32] >> (i / 32) & 1) << 2);
}

void pack_3(const BlockFields& f, uint8_t* b) {
  std::memset(b, 0, 110);
  uint8_t* s = b + 96;
  write_f16(f.d, b + 108);
  for (int p = 0; p < 16; ++p) {
    const int v = f.scales[p] + 32;
    put(s, {p % 8, p < 8 ? 0 : 4}, v & 15), put(s, {8 + p % 4, 2 * (p / 4)}, v >> 4);
  }
  for (int i = 0; i < kBlock; ++i) put(b + 32, two_bits(i), f.codes[i] & 3), put(b, {i % 32, i / 32}, f.codes[i] >> 2);
}

// 8 scales and 8 offsets of 6 bits in 12 bytes: the first four of each lie in bytes 0-3 and 4-7; of the others the low
// halves share bytes 8-11, and the upper two bits are those of bytes 0-3 and 4-7.
void unpack_twelve(const uint8_t* s, BlockFields* f) {
  for (int p = 0; p < 4; ++p) {
    f->scales[p] = s[p] & 63, f->mins[p] = s[p + 4] & 63;
    f->scales[p + 4] = static_cast<int16_t>((s[p + 8] & 15) | s[p] >> 6 << 4);
    f->mins[p + 4] = static_cast<int16_t>(s[p + 8] >> 4 | s[p + 4] >> 6 << 4);
  }
}

void pack_twelve(const BlockFields& f, uint8_t* s) {
  for (int p = 0; p < 4; ++p) {
    s[p] = static_cast<uint8_t>(f.scales[p] | f.scales[p + 4] >> 4 << 6);
    s[p + 4] = static_cast<uint8_t>(f.mins[p] | f.mins[p + 4] >> 4 << 6);
    s[p + 8] = static_cast<uint8_t>((f.scales[p + 4] & 15) | (f.mins[p + 4] & 15) << 4);
  }
}

// f16 d, dmin; u8 scales[12]; u8 qs[128].
void unpack_4(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b), f->dmin = read_f16(b + 2);
  unpack_twelve(b + 4, f);
  for (int i = 0; i < kBlock; ++i) f->codes[i] = static_cast<uint8_t>(get(b + 16, four_bits(i), 15));
}

void pack_4(const BlockFields& f, uint8_t* b) {
  std::memset(b, 0, 144);
  write_f16(f.d, b), write_f16(f.dmin, b + 2);
  pack_twelve(f, b + 4);
  for (int i = 0; i < kBlock; ++i) put(b + 16, four_bits(i), f.codes[i]);
}

// f16 d, dmin; u8 scales[12]; u8 qh[32]: bit k of byte l is the fifth bit of weight 32 k + l; u8 qs[128].
void unpack_5(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b), f->dmin = read_f16(b + 2);
  unpack_twelve(b + 4, f);
  for (int i = 0; i < kBlock; ++i)
    f->codes[i] = static_cast<uint8_t>(get(b + 48, four_bits(i), 15) | (b[16 + i % 32] >> (i / 32) & 1) << 4);
}

void pack_5(const BlockFields& f, uint8_t* b) {
  std::memset(b, 0, 176);
  write_f16(f.d, b), write_f16(f.dmin, b + 2);
  pack_twelve(f, b + 4);
  for (int i = 0; i < kBlock; ++i)
    put(b + 48, four_bits(i), f.codes[i] & 15), put(b + 16, {i % 32, i / 32}, f.codes[i] >> 4);
}

// u8 ql[128]; u8 qh[64]; i8 scales[16]; f16 d.
void unpack_6(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b + 208), f->dmin = 0;
  for (int p = 0; p < 16; ++p) f->scales[p] = static_cast<int8_t>(b[192 + p]), f->mins[p] = 0;
  for (int i = 0; i < kBlock; ++i)
    f->codes[i] = static_cast<uint8_t>(get(b, six_low(i), 15) | get(b + 128, two_bits(i), 3) << 4);
}

void pack_6(const BlockFields& f, uint8_t* b) {
  std::memset(b, 0, 210);
  write_f16(f.d, b + 208);
  for (int p = 0; p < 16; ++p) b[192 + p] = static_cast<uint8_t>(f.scales[p]);
  for (int i = 0; i < kBlock; ++i) put(b, six_low(i), f.codes[i] & 15), put(b + 128, two_bits(i), f.codes[i] >> 4);
}

}  // namespace

std::vector<BlockCode> k_blocks() {
  const BlockOffset none = BlockOffset::kNone, factor = BlockOffset::kFactor;
  return {
      {12, "q4_k", 4, 256, 144, 32, 0, 63, factor, 63, 0, 2, centered_points(0), true, unpack_4, pack_4},
      {14, "q6_k", 6, 256, 210, 16, -128, 127, none, 0, 208, -1, centered_points(32), true, unpack_6, pack_6},
      {13, "q5_k", 5, 256, 176, 32, 0, 63, factor, 63, 0, 2, centered_points(0), true, unpack_5, pack_5},
      {11, "q3_k", 3, 256, 110, 16, -32, 31, none, 0, 108, -1, centered_points(4), true, unpack_3, pack_3},
      {10, "q2_k", 2, 256, 84, 16, 0, 15, factor, 15, 80, 82, centered_points(0), true, unpack_2, pack_2},
  };
}

}  // namespace qz
