// GGUF blocks of 32 weights with one scale: see packed/block_code.h.
#pragma once
#include <cstdint>

namespace qz {

// f16 d; u8 qs[16]: w = (q - 8) d; byte j holds weight j low and weight j + 16 high.
void decode_q4_0(const uint8_t* block, float* out);
void encode_q4_0(const float* x, const float* importance, uint8_t* block);
// f16 d; i8 qs[32]: w = q d.
void decode_q8_0(const uint8_t* block, float* out);
void encode_q8_0(const float* x, const float* importance, uint8_t* block);

}  // namespace qz
