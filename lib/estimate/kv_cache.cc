#include "estimate/kv_cache.h"

#include <algorithm>

namespace qz {

Count kv_token_bytes(const ModelShape& s, const KvLayout& l) {
  const auto bytes = [&](int64_t elements) { return (Count(elements) * Count(l.bits)).per(8); };
  // One latent vector for all heads, keys and values made from it: no factor 2 (DeepSeek-V2, arXiv 2405.04434).
  if (s.latent > 0 && l.bits == 8 && l.latent_group > 0)
    return Count(s.latent) + Count(s.latent).per(Count(l.latent_group)) * Count(4) + Count(2 * s.latent_rope);
  if (s.latent > 0) return bytes(s.latent + s.latent_rope);
  const int64_t heads = std::max<int64_t>(1, ceil_div(s.kv_heads, l.tensor_parallel));
  return Count(heads) * (bytes(s.head_dim) + bytes(s.value_dim) + Count(2 * l.scale_bytes));
}

Count kv_bytes(const ModelShape& s, const KvLayout& l, int64_t batch, int64_t tokens) {
  const Count token = kv_token_bytes(s, l);
  Count sum;
  for (int64_t layer = 0; layer < s.layers; layer++) {
    const int64_t window = static_cast<size_t>(layer) < s.window.size() ? s.window[static_cast<size_t>(layer)] : 0;
    int64_t held = tokens;
    if (window > 0) held = std::min(held, l.block > 1 ? window - 1 + std::max<int64_t>(1, l.step) : window);
    // A page-wise window moves through its pages: one more than it fills (vLLM, SlidingWindowSpec).
    const int64_t pages = ceil_div(held, l.block) + (l.block > 1 && window > 0 && held < tokens ? 1 : 0);
    sum += Count(batch) * Count(pages) * Count(l.block) * token;
  }
  return sum;
}

int64_t kv_capacity(const ModelShape& s, const KvLayout& l, uint64_t bytes) {
  const Count page = kv_token_bytes(s, l) * Count(s.layers) * Count(l.block);
  if (!page.valid() || page.value() == 0) return 0;
  return static_cast<int64_t>(
             std::min<uint64_t>(bytes / page.value(), INT64_MAX / 2 / static_cast<uint64_t>(l.block))) *
         l.block;
}

}  // namespace qz
