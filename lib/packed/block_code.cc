#include "packed/block_code.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/simd.h"
#include "packed/blocks_iq.h"
#include "packed/blocks_k.h"
#include "packed/blocks_simple.h"
#include "tensor/convert.h"

namespace qz {

const std::vector<BlockCode>& block_codes() {
  static const std::vector<BlockCode> table = [] {
    std::vector<BlockCode> all;
    for (const auto& family : {k_blocks(), simple_blocks(), iq_blocks()})
      all.insert(all.end(), family.begin(), family.end());
    return all;
  }();
  return table;
}

const BlockCode* find_block_code(CodeKind code) {
  if (static_cast<int32_t>(code) < kFirstBlock) return nullptr;
  for (const BlockCode& block : block_codes())
    if (block.code() == code) return &block;
  return nullptr;
}

Scheme block_scheme(const BlockCode& block) {
  Scheme s;
  s.code = block.code();
  s.bits = block.bits;
  s.group = block.elements;
  return s;
}

namespace {

QZ_SIMD_CLONES
void uniform_part(const uint8_t* codes, int n, float first, float scale, float offset, float* out) {
  for (int i = 0; i < n; ++i) {
    const float product = scale * (static_cast<float>(codes[i]) + first);
    out[i] = product - offset;
  }
}

}  // namespace

void decode_block(const BlockCode& block, const uint8_t* bytes, float* out) {
  BlockFields f;
  block.unpack(bytes, &f);
  for (int32_t p = 0; p < block.parts(); ++p) {
    const float scale = f.d * static_cast<float>(f.scales[p]), offset = f.dmin * static_cast<float>(f.mins[p]);
    const int32_t first = p * block.part;
    if (block.uniform) {
      uniform_part(f.codes + first, block.part, block.points[0], scale, offset, out + first);
      continue;
    }
    for (int32_t i = first; i < first + block.part; ++i) {
      const float product = scale * block.points[f.codes[i]];
      out[i] = product - offset;
    }
  }
}

bool finite_blocks(const BlockCode& block, const uint8_t* bytes, int64_t count, int64_t* wrong) {
  for (*wrong = 0; *wrong < count; ++*wrong) {
    const uint8_t* at = bytes + *wrong * block.bytes;
    if (!std::isfinite(read_f16(at + block.d_at))) return false;
    if (block.dmin_at >= 0 && !std::isfinite(read_f16(at + block.dmin_at))) return false;
  }
  return true;
}

float read_f16(const uint8_t* at) {
  uint16_t v;
  std::memcpy(&v, at, 2);
  return f16_to_f32(v);
}

void write_f16(float v, uint8_t* at) {
  const uint16_t half = f32_to_f16(v);
  std::memcpy(at, &half, 2);
}

const float* centered_points(int32_t zero) {
  // One run of integers: any width from any zero point is a part of it.
  static const std::array<float, 512> run = [] {
    std::array<float, 512> v;
    for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i) - 256.0f;
    return v;
  }();
  return run.data() + 256 - zero;
}

}  // namespace qz
