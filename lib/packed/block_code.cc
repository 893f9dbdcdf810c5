#include "packed/block_code.h"

#include "packed/blocks_simple.h"

namespace qz {

const std::vector<BlockCode>& block_codes() {
  static const std::vector<BlockCode> table = {
      {2, "q4_0", 4, 32, 18, decode_q4_0, encode_q4_0},
      {8, "q8_0", 8, 32, 34, decode_q8_0, encode_q8_0},
  };
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

}  // namespace qz
