// Layouts: ggml-common.h, block_q2_K … block_q6_K; the order of weights within the bytes: dequantize_row_* of
// ggml-quants.c.
#include "packed/blocks_k.h"

#include <cstring>

namespace qz {
namespace {

constexpr int kBlock = 256;

// Whole runs of bytes at a time, which the compiler makes vectors of.
// 2-bit fields: byte l (of 32) holds weights l, l + 32, l + 64, l + 96, of their codes the bits from `bit` on.
void join_twos(const uint8_t* codes, int bit, uint8_t* out) {
  for (int l = 0; l < 32; ++l) {
    int v = 0;
    for (int k = 0; k < 4; ++k) v |= (codes[32 * k + l] >> bit & 3) << 2 * k;
    out[l] = static_cast<uint8_t>(v);
  }
}
void add_twos(const uint8_t* in, int bit, uint8_t* codes) {
  for (int k = 0; k < 4; ++k)
    for (int l = 0; l < 32; ++l)
      codes[32 * k + l] = static_cast<uint8_t>(codes[32 * k + l] | (in[l] >> 2 * k & 3) << bit);
}

// 4-bit fields: byte l (of `run`) holds weight l low and l + run high.
template <int run>
void join_fours(const uint8_t* codes, uint8_t* out) {
  for (int l = 0; l < run; ++l) out[l] = static_cast<uint8_t>((codes[l] & 15) | codes[run + l] << 4);
}
template <int run>
void add_fours(const uint8_t* in, uint8_t* codes) {
  for (int l = 0; l < run; ++l) codes[l] = static_cast<uint8_t>(codes[l] | (in[l] & 15));
  for (int l = 0; l < run; ++l) codes[run + l] = static_cast<uint8_t>(codes[run + l] | in[l] >> 4);
}

// One bit of each code: bit k of byte l (of 32) is that of weight 32 k + l.
void join_ones(const uint8_t* codes, int bit, uint8_t* out) {
  for (int l = 0; l < 32; ++l) {
    int v = 0;
    for (int k = 0; k < 8; ++k) v |= (codes[32 * k + l] >> bit & 1) << k;
    out[l] = static_cast<uint8_t>(v);
  }
}
void add_ones(const uint8_t* in, int bit, uint8_t* codes) {
  for (int k = 0; k < 8; ++k)
    for (int l = 0; l < 32; ++l) codes[32 * k + l] = static_cast<uint8_t>(codes[32 * k + l] | (in[l] >> k & 1) << bit);
}

void clear_codes(BlockFields* f) { std::memset(f->codes, 0, kBlock); }

// u8 scales[16]: scale low, offset high; u8 qs[64]; f16 d, dmin.
void unpack_2(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b + 80), f->dmin = read_f16(b + 82);
  for (int p = 0; p < 16; ++p) f->scales[p] = b[p] & 15, f->mins[p] = b[p] >> 4;
  clear_codes(f);
  for (int half = 0; half < 2; ++half) add_twos(b + 16 + 32 * half, 0, f->codes + 128 * half);
}

void pack_2(const BlockFields& f, uint8_t* b) {
  write_f16(f.d, b + 80), write_f16(f.dmin, b + 82);
  for (int p = 0; p < 16; ++p) b[p] = static_cast<uint8_t>(f.scales[p] | f.mins[p] << 4);
  for (int half = 0; half < 2; ++half) join_twos(f.codes + 128 * half, 0, b + 16 + 32 * half);
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
  clear_codes(f);
  for (int half = 0; half < 2; ++half) add_twos(b + 32 + 32 * half, 0, f->codes + 128 * half);
  add_ones(b, 2, f->codes);
}

void pack_3(const BlockFields& f, uint8_t* b) {
  uint8_t* s = b + 96;
  std::memset(s, 0, 12);
  write_f16(f.d, b + 108);
  const auto put = [](uint8_t* at, int value) { *at = static_cast<uint8_t>(*at | value); };
  for (int p = 0; p < 16; ++p) {
    const int v = f.scales[p] + 32;
    put(s + p % 8, (v & 15) << (p < 8 ? 0 : 4)), put(s + 8 + p % 4, v >> 4 << 2 * (p / 4));
  }
  for (int half = 0; half < 2; ++half) join_twos(f.codes + 128 * half, 0, b + 32 + 32 * half);
  join_ones(f.codes, 2, b);
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
  clear_codes(f);
  for (int run = 0; run < 4; ++run) add_fours<32>(b + 16 + 32 * run, f->codes + 64 * run);
}

void pack_4(const BlockFields& f, uint8_t* b) {
  write_f16(f.d, b), write_f16(f.dmin, b + 2);
  pack_twelve(f, b + 4);
  for (int run = 0; run < 4; ++run) join_fours<32>(f.codes + 64 * run, b + 16 + 32 * run);
}

// f16 d, dmin; u8 scales[12]; u8 qh[32]: bit k of byte l is the fifth bit of weight 32 k + l; u8 qs[128].
void unpack_5(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b), f->dmin = read_f16(b + 2);
  unpack_twelve(b + 4, f);
  clear_codes(f);
  for (int run = 0; run < 4; ++run) add_fours<32>(b + 48 + 32 * run, f->codes + 64 * run);
  add_ones(b + 16, 4, f->codes);
}

void pack_5(const BlockFields& f, uint8_t* b) {
  write_f16(f.d, b), write_f16(f.dmin, b + 2);
  pack_twelve(f, b + 4);
  for (int run = 0; run < 4; ++run) join_fours<32>(f.codes + 64 * run, b + 48 + 32 * run);
  join_ones(f.codes, 4, b + 16);
}

// u8 ql[128]; u8 qh[64]; i8 scales[16]; f16 d.
void unpack_6(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b + 208), f->dmin = 0;
  for (int p = 0; p < 16; ++p) f->scales[p] = static_cast<int8_t>(b[192 + p]), f->mins[p] = 0;
  clear_codes(f);
  for (int half = 0; half < 2; ++half) {
    add_fours<64>(b + 64 * half, f->codes + 128 * half);
    add_twos(b + 128 + 32 * half, 4, f->codes + 128 * half);
  }
}

void pack_6(const BlockFields& f, uint8_t* b) {
  write_f16(f.d, b + 208);
  for (int p = 0; p < 16; ++p) b[192 + p] = static_cast<uint8_t>(f.scales[p]);
  for (int half = 0; half < 2; ++half) {
    join_fours<64>(f.codes + 128 * half, b + 64 * half);
    join_twos(f.codes + 128 * half, 4, b + 128 + 32 * half);
  }
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
