// GGUF block codes: a fixed number of weights of one row in a fixed number of bytes, scales and codes together. The
// canonical form is the bytes themselves. One table; layouts are in ggml's ggml-common.h, one file per family of types.
#pragma once
#include <cstdint>
#include <vector>

#include "packed/scheme.h"

namespace qz {

struct BlockCode {
  int32_t ggml_type;  // the number in GGUF files; the code is kFirstBlock + ggml_type
  const char* name;   // "q4_0"
  int32_t bits;       // of one code
  int32_t elements;   // weights of a block, consecutive columns of a row
  int32_t bytes;      // of a block
  // One block -> `elements` floats.
  void (*decode)(const uint8_t* block, float* out);
  // `elements` finite floats -> one block, as ggml's reference quantizer rounds. importance: weight of each error,
  // `elements` values not below 0, or null: all alike.
  void (*encode)(const float* x, const float* importance, uint8_t* block);

  CodeKind code() const { return static_cast<CodeKind>(kFirstBlock + ggml_type); }
  double bits_per_weight() const { return 8.0 * bytes / elements; }
};

// By falling use: the table.
const std::vector<BlockCode>& block_codes();
const BlockCode* find_block_code(CodeKind code);  // nullptr: not a block code, or not known
Scheme block_scheme(const BlockCode& block);

}  // namespace qz
