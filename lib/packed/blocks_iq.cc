// Layouts and table: ggml-common.h, block_iq4_nl, block_iq4_xs, kvalues_iq4nl.
#include "packed/blocks_iq.h"

#include <cstring>

namespace qz {
namespace {

constexpr int kHalf = 16, kPart = 32;
constexpr float kPoints[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// 16 bytes: byte j holds weight j low and weight j + 16 high.
void unpack_part(const uint8_t* qs, uint8_t* codes) {
  for (int j = 0; j < kHalf; ++j) codes[j] = qs[j] & 15, codes[j + kHalf] = qs[j] >> 4;
}

void pack_part(const uint8_t* codes, uint8_t* qs) {
  for (int j = 0; j < kHalf; ++j) qs[j] = static_cast<uint8_t>(codes[j] | codes[j + kHalf] << 4);
}

// f16 d; u8 qs[16].
void unpack_nl(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b), f->dmin = 0;
  f->scales[0] = 1, f->mins[0] = 0;
  unpack_part(b + 2, f->codes);
}

void pack_nl(const BlockFields& f, uint8_t* b) {
  write_f16(f.d, b);
  pack_part(f.codes, b + 2);
}

// f16 d; u16 scales_h: upper two bits of each scale; u8 scales_l[4]: low halves, the even ones low; u8 qs[128]. Scales
// are above -32.
void unpack_xs(const uint8_t* b, BlockFields* f) {
  f->d = read_f16(b), f->dmin = 0;
  uint16_t high;
  std::memcpy(&high, b + 2, 2);
  for (int p = 0; p < 8; ++p) {
    const int low = b[4 + p / 2] >> 4 * (p % 2) & 15;
    f->scales[p] = static_cast<int16_t>((low | (high >> 2 * p & 3) << 4) - 32), f->mins[p] = 0;
    unpack_part(b + 8 + kHalf * p, f->codes + kPart * p);
  }
}

void pack_xs(const BlockFields& f, uint8_t* b) {
  write_f16(f.d, b);
  std::memset(b + 2, 0, 6);
  uint16_t high = 0;
  for (int p = 0; p < 8; ++p) {
    const int v = f.scales[p] + 32;
    high = static_cast<uint16_t>(high | v >> 4 << 2 * p);
    b[4 + p / 2] = static_cast<uint8_t>(b[4 + p / 2] | (v & 15) << 4 * (p % 2));
    pack_part(f.codes + kPart * p, b + 8 + kHalf * p);
  }
  std::memcpy(b + 2, &high, 2);
}

}  // namespace

std::vector<BlockCode> iq_blocks() {
  const BlockOffset none = BlockOffset::kNone;
  return {
      {23, "iq4_xs", 4, 256, 136, 32, -32, 31, none, 0, 0, -1, kPoints, false, unpack_xs, pack_xs},
      {20, "iq4_nl", 4, 32, 18, 32, 1, 1, none, 0, 0, -1, kPoints, false, unpack_nl, pack_nl},
  };
}

}  // namespace qz
