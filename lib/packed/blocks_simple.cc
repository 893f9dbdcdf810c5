#include "packed/blocks_simple.h"

#include <cstring>

namespace qz {
namespace {

constexpr int kBlock = 32, kHalf = 16;

// What comes in front of the codes: d, and m with w = q d + m.
template <bool kOffset>
void read_scales(const uint8_t* block, BlockFields* f) {
  f->d = read_f16(block);
  f->dmin = kOffset ? read_f16(block + 2) : 0;
  f->scales[0] = 1;
  f->mins[0] = kOffset ? -1 : 0;
}

template <bool kOffset>
void write_scales(const BlockFields& f, uint8_t* block) {
  write_f16(f.d, block);
  if (kOffset) write_f16(f.dmin, block + 2);
}

// u8 qs[16]: byte j holds weight j low and weight j + 16 high.
template <bool kOffset>
void unpack_4(const uint8_t* block, BlockFields* f) {
  read_scales<kOffset>(block, f);
  const uint8_t* qs = block + (kOffset ? 4 : 2);
  for (int j = 0; j < kHalf; ++j) {
    f->codes[j] = qs[j] & 15;
    f->codes[j + kHalf] = qs[j] >> 4;
  }
}

template <bool kOffset>
void pack_4(const BlockFields& f, uint8_t* block) {
  write_scales<kOffset>(f, block);
  uint8_t* qs = block + (kOffset ? 4 : 2);
  for (int j = 0; j < kHalf; ++j) qs[j] = static_cast<uint8_t>(f.codes[j] | f.codes[j + kHalf] << 4);
}

// u32 qh: bit j is the fifth bit of weight j; then qs as above.
template <bool kOffset>
void unpack_5(const uint8_t* block, BlockFields* f) {
  read_scales<kOffset>(block, f);
  const uint8_t* at = block + (kOffset ? 4 : 2);
  uint32_t high;
  std::memcpy(&high, at, 4);
  for (int j = 0; j < kBlock; ++j) {
    const int low = j < kHalf ? at[4 + j] & 15 : at[4 + j - kHalf] >> 4;
    f->codes[j] = static_cast<uint8_t>(low | (high >> j & 1) << 4);
  }
}

template <bool kOffset>
void pack_5(const BlockFields& f, uint8_t* block) {
  write_scales<kOffset>(f, block);
  uint8_t* at = block + (kOffset ? 4 : 2);
  uint32_t high = 0;
  for (int j = 0; j < kBlock; ++j) high |= static_cast<uint32_t>(f.codes[j] >> 4) << j;
  std::memcpy(at, &high, 4);
  for (int j = 0; j < kHalf; ++j) at[4 + j] = static_cast<uint8_t>((f.codes[j] & 15) | (f.codes[j + kHalf] & 15) << 4);
}

// i8 qs[32].
void unpack_8(const uint8_t* block, BlockFields* f) {
  read_scales<false>(block, f);
  for (int j = 0; j < kBlock; ++j) f->codes[j] = static_cast<uint8_t>(block[2 + j] + 128);
}

void pack_8(const BlockFields& f, uint8_t* block) {
  write_scales<false>(f, block);
  for (int j = 0; j < kBlock; ++j) block[2 + j] = static_cast<uint8_t>(f.codes[j] - 128);
}

}  // namespace

std::vector<BlockCode> simple_blocks() {
  const BlockOffset none = BlockOffset::kNone, own = BlockOffset::kOwn;
  return {
      {2, "q4_0", 4, 32, 18, 32, 1, 1, none, 0, 0, -1, centered_points(8), true, unpack_4<false>, pack_4<false>},
      {3, "q4_1", 4, 32, 20, 32, 1, 1, own, 0, 0, 2, centered_points(0), true, unpack_4<true>, pack_4<true>},
      {6, "q5_0", 5, 32, 22, 32, 1, 1, none, 0, 0, -1, centered_points(16), true, unpack_5<false>, pack_5<false>},
      {7, "q5_1", 5, 32, 24, 32, 1, 1, own, 0, 0, 2, centered_points(0), true, unpack_5<true>, pack_5<true>},
      {8, "q8_0", 8, 32, 34, 32, 1, 1, none, 0, 0, -1, centered_points(128), true, unpack_8, pack_8},
  };
}

}  // namespace qz
