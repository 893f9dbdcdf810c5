// Token sequences: calibration and evaluation texts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/matrix.h"

namespace qz {

struct TokenSet {
  std::vector<std::vector<int32_t>> sequences;
  // Further sequences, after those, whose tokens are given as what the embedding makes of them: [tokens][hidden]. Of a
  // model that sees, where pictures take the place of tokens.
  std::vector<Matrix> embeddings = {};
  int64_t count() const { return static_cast<int64_t>(sequences.size() + embeddings.size()); }
  int64_t tokens() const {
    int64_t n = 0;
    for (const auto& s : sequences) n += static_cast<int64_t>(s.size());
    for (const Matrix& m : embeddings) n += m.rows();
    return n;
  }
  // SHA-256 over lengths and ids, little-endian; then, of each of the embeddings, over its rows, columns and numbers.
  std::string hash() const;
};

// A container of its own (magic, version, count, zstd-compressed lengths and ids, SHA-256), so that a run can be
// replayed without the tokenizer. Damage is kBadFile; embeddings, which it cannot hold, are kUnsupported.
Status save_tokens(const TokenSet& set, const std::string& path);
Result<TokenSet> load_tokens(const std::string& path);

}  // namespace qz
