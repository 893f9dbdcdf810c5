// Bytes of keys and values.
#pragma once
#include "estimate/count.h"
#include "estimate/shape.h"

namespace qz {

struct KvLayout {
  int32_t bits = 16;  // of an element: 16, 8 or 4
  int64_t block = 1;  // tokens of a page; 1: contiguous
  int64_t tensor_parallel = 1;
  int64_t step = 0;         // tokens that are added at once, which a page-wise sliding window must hold as well
  int64_t scale_bytes = 0;  // per token and head, for each of K and V (vLLM's per-token-head quantization: 4)
  // Elements of a latent vector of 8 bits that share a float32 scale, its rotary ones kept at 16 bits (vLLM's
  // fp8_ds_mla: 128); 0: all of them at `bits`.
  int64_t latent_group = 0;
};

// Bytes of one layer for one position.
Count kv_token_bytes(const ModelShape& shape, const KvLayout& layout);
// Bytes for `batch` sequences of `tokens`, windows respected, whole pages.
Count kv_bytes(const ModelShape& shape, const KvLayout& layout, int64_t batch, int64_t tokens);
// Positions that `bytes` hold, whole pages, windows left out (as vLLM counts its cache); 0: none.
int64_t kv_capacity(const ModelShape& shape, const KvLayout& layout, uint64_t bytes);

}  // namespace qz
