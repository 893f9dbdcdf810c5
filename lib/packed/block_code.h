// GGUF block codes: a fixed number of weights of one row in a fixed number of bytes, scales and codes together. The
// canonical form is the bytes themselves. One table of what the types have in common, one file per family of layouts
// (blocks_*.cc); all of them follow ggml's ggml-common.h and ggml-quants.c.
//   w[i] = d * scales[p] * points[codes[i]] - dmin * mins[p],  p = i / part, computed in this order in float32
#pragma once
#include <cstdint>
#include <vector>

#include "packed/scheme.h"

namespace qz {

constexpr int32_t kMostElements = 256;  // of a block
constexpr int32_t kMostParts = 16;

// One block, unpacked.
struct BlockFields {
  uint8_t codes[kMostElements];                  // below 2^bits
  float d = 0, dmin = 0;                         // each exact in F16
  int16_t scales[kMostParts], mins[kMostParts];  // factors of d and dmin, one per part
};

// What is subtracted from a part.
enum class BlockOffset : int32_t {
  kNone,    // nothing
  kOwn,     // any number: dmin is its negative, mins are -1
  kFactor,  // dmin times a factor
};

struct BlockCode {
  int32_t ggml_type;                // the number in GGUF files; the code is kFirstBlock + ggml_type
  const char* name;                 // "q4_0"
  int32_t bits;                     // of one code
  int32_t elements;                 // weights of a block, consecutive columns of a row
  int32_t bytes;                    // of a block
  int32_t part;                     // consecutive weights that share a scale
  int32_t least_scale, most_scale;  // factors of d; 1 and 1: there are none
  BlockOffset offset;
  int32_t most_min;     // factors of dmin, from 0
  int32_t d_at;         // bytes in front of d
  int32_t dmin_at;      // the same of dmin; -1: there is none
  const float* points;  // 2^bits values, rising
  bool uniform;         // points are code - const
  void (*unpack)(const uint8_t* block, BlockFields* fields);
  void (*pack)(const BlockFields& fields, uint8_t* block);

  CodeKind code() const { return static_cast<CodeKind>(kFirstBlock + ggml_type); }
  double bits_per_weight() const { return 8.0 * bytes / elements; }
  int32_t parts() const { return elements / part; }
};

// By falling use: the table.
const std::vector<BlockCode>& block_codes();
const BlockCode* find_block_code(CodeKind code);  // nullptr: not a block code, or not known
Scheme block_scheme(const BlockCode& block);

// One block -> block.elements floats.
void decode_block(const BlockCode& block, const uint8_t* bytes, float* out);
// Whether d and dmin of `count` blocks are finite; else *wrong is the first whose are not.
bool finite_blocks(const BlockCode& block, const uint8_t* bytes, int64_t count, int64_t* wrong);

// For the families' files.
float read_f16(const uint8_t* at);
void write_f16(float v, uint8_t* at);
// Points 1 apart, of any number of bits, whose code `zero` stands for 0.
const float* centered_points(int32_t zero);

}  // namespace qz
