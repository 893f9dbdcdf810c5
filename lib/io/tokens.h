// Token sequences: calibration and evaluation texts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace qz {

struct TokenSet {
  std::vector<std::vector<int32_t>> sequences;
  int64_t tokens() const {
    int64_t n = 0;
    for (const auto& s : sequences) n += static_cast<int64_t>(s.size());
    return n;
  }
  // SHA-256 over lengths and ids, little-endian.
  std::string hash() const;
};

// A container of its own (magic, version, count, zstd-compressed lengths and ids, SHA-256), so that a run can be
// replayed without the tokenizer. Damage is kBadFile.
Status save_tokens(const TokenSet& set, const std::string& path);
Result<TokenSet> load_tokens(const std::string& path);

}  // namespace qz
