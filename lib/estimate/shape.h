// A model as the estimators see it: sizes only. Made from config.json or from real headers (run/shape.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace qz {

struct LinearShape {
  std::string name, role;
  int64_t layer = -1;  // -1: the head
  int64_t rows = 0, cols = 0;
  bool can_quantize = true;    // false: a tied head, which has no weight of its own; a router, counted among the others
  uint64_t stored_scales = 0;  // of stored_bytes' tensors, where they are told apart: not in it
  uint64_t stored_bytes = 0;   // its tensors in the file, the bias left out; from the configuration: as a plain weight
};

struct ModelShape {
  bool exact = false;  // from tensor headers, not from the configuration
  int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0, intermediate = 0;
  int64_t vocab = 0, max_seq = 0;
  int64_t latent = 0, latent_rope = 0;  // multi-head latent attention: what one position caches in each layer; 0: not
  std::vector<int64_t> window;          // per layer, tokens; 0 = full attention
  bool gated = true, tied = false;
  DType dtype = DType::kBF16;
  std::vector<LinearShape> linears;  // in the order of the forward pass, the head last
  int64_t embedding = 0;             // elements of the embedding
  int64_t others = 0;                // elements of everything that is neither: norms, biases, positions, towers
  uint64_t embedding_bytes = 0, other_bytes = 0;  // as stored
  int64_t largest = 0;                            // elements of the largest single layer, the embedding counted

  int64_t linear_elements(bool with_head) const;
  int64_t parameters() const { return linear_elements(true) + embedding + others; }
};

}  // namespace qz
