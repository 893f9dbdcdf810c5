#include "packed/blocks_simple.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/convert.h"

namespace qz {
namespace {

constexpr int kBlock = 32;

float read_f16(const uint8_t* at) {
  uint16_t v;
  std::memcpy(&v, at, 2);
  return f16_to_f32(v);
}

void write_f16(float v, uint8_t* at) {
  const uint16_t half = f32_to_f16(v);
  std::memcpy(at, &half, 2);
}

// The value of largest magnitude, with its sign; of equals the first.
float extreme(const float* x) {
  float most = 0;
  for (int i = 0; i < kBlock; ++i)
    if (std::fabs(x[i]) > std::fabs(most)) most = x[i];
  return most;
}

}  // namespace

void decode_q4_0(const uint8_t* block, float* out) {
  const float d = read_f16(block);
  for (int j = 0; j < kBlock / 2; ++j) {
    out[j] = static_cast<float>((block[2 + j] & 15) - 8) * d;
    out[j + kBlock / 2] = static_cast<float>((block[2 + j] >> 4) - 8) * d;
  }
}

void encode_q4_0(const float* x, const float*, uint8_t* block) {
  const float d = extreme(x) / -8;
  const float inverse = d != 0 ? 1 / d : 0;
  write_f16(d, block);
  const auto code = [&](float v) { return std::min(15, static_cast<int>(v * inverse + 8.5f)); };
  for (int j = 0; j < kBlock / 2; ++j) block[2 + j] = static_cast<uint8_t>(code(x[j]) | code(x[j + kBlock / 2]) << 4);
}

void decode_q8_0(const uint8_t* block, float* out) {
  const float d = read_f16(block);
  for (int j = 0; j < kBlock; ++j) out[j] = static_cast<float>(static_cast<int8_t>(block[2 + j])) * d;
}

void encode_q8_0(const float* x, const float*, uint8_t* block) {
  const float d = std::fabs(extreme(x)) / 127;
  const float inverse = d != 0 ? 1 / d : 0;
  write_f16(d, block);
  for (int j = 0; j < kBlock; ++j) block[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[j] * inverse)));
}

}  // namespace qz
