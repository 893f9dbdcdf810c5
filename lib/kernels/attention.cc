#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/checked.h"
#include "kernels/amx.h"
#include "kernels/block_kernels.h"
#include "kernels/engines.h"
#include "kernels/ops.h"

namespace qz {
namespace {

// Blocks of a prompt's attention: all buffers together are 160 KiB of stack. Multiples of every engine's mr and nr, and
// of kPanelSide.
constexpr int64_t kQueryBlock = 96, kKeyBlock = 64, kDepth = 128, kValueBlock = 256;
static_assert(kQueryBlock % kPanelSide == 0 && kKeyBlock % kPanelSide == 0 && 2 * kDepth >= kPanelDepth);
// From this many queries on, packing pays.
constexpr int64_t kFewQueries = 4;

struct Head {
  const HeadShape& shape;
  const float* q;
  int64_t q_stride;
  const float* k;
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  float* out;
  int64_t out_stride;
};

// One query against keys [begin, end): scores, softmax, weighted sum of the values.
void attend_one(const Head& h, int64_t query, int64_t begin, int64_t end, float* scores) {
  const Engine& e = engine();
  const int64_t n = end - begin;
  std::fill(scores, scores + n, 0.0f);
  e.gemm->dots(h.q + query * h.q_stride, h.q_stride, 1, h.k + begin * h.k_stride, h.k_stride, n, h.shape.dim, scores,
               n);
  e.ops->scale(scores, h.shape.scale, n);
  adjust_scores(h.shape, begin, n, scores);
  const float sum = e.ops->exp_minus(scores, e.ops->max(scores, n), n, scores);
  e.ops->scale(scores, 1.0f / sum, n);
  e.gemm->combine(scores, h.v + begin * h.v_stride, h.v_stride, n, h.shape.value_dim, h.out + query * h.out_stride);
}

// Up to kQueryBlock queries: keys in blocks, with the running maximum and sum of each row (Milakov and Gimelshein,
// arXiv 1805.02867), both products through the micro-kernel of the dense products.
class Block {
 public:
  Block(const Head& head, int64_t query, int64_t count)
      : h_(head),
        gemm_(panels(head.shape.products)),
        blocks_(blocks(head.shape.products)),
        ops_(*engine().ops),
        query_(query),
        count_(count) {
    for (int64_t i = 0; i < count; ++i) {
      largest_[i] = -std::numeric_limits<float>::infinity();
      sum_[i] = 0;
      std::fill_n(out(i), h_.shape.value_dim, 0.0f);
    }
  }

  // Row i sees the keys of its window up to its own position; this adds those in [key, key + keys).
  void add(int64_t key, int64_t keys, int64_t first) {
    const HeadShape& shape = h_.shape;
    // Whole panels of rows before all of these keys see none of them.
    const int64_t side = blocks_ ? kPanelSide : gemm_.mr;
    const int64_t from = shape.causal ? std::clamp<int64_t>(key - first - query_, 0, count_) / side * side : int64_t{0};
    blocks_ ? score_blocks(from, key, keys) : score(from, key, keys);
    for (int64_t i = from; i < count_; ++i) {
      adjust_scores(shape, key, keys, scores_ + i * kKeyBlock);
      const int64_t position = first + query_ + i;
      const int64_t begin = shape.window > 0 ? std::max<int64_t>(position - shape.window + 1 - key, 0) : 0;
      const int64_t end = shape.causal ? std::clamp<int64_t>(position + 1 - key, 0, keys) : keys;
      hide(i, std::min(begin, keys), end);
    }
    weigh(from);
    blocks_ ? combine_blocks(from, key, keys) : combine(from, key, keys);
  }

  void finish() {
    for (int64_t i = 0; i < count_; ++i) ops_.scale(out(i), 1.0f / sum_[i], h_.shape.value_dim);
  }

 private:
  float* out(int64_t i) { return h_.out + (query_ + i) * h_.out_stride; }

  // scores_ = scale * q k^T, rows from `from` on.
  void score(int64_t from, int64_t key, int64_t keys) {
    const int64_t mr = gemm_.mr, nr = gemm_.nr;
    for (int64_t d = 0; d < h_.shape.dim; d += kDepth) {
      const int64_t depth = std::min(kDepth, h_.shape.dim - d);
      if (packed_ != d) {  // with one block of depth the queries are packed once for all keys
        for (int64_t i = 0; i < count_; i += mr) {
          gemm_.pack_across(h_.q + (query_ + i) * h_.q_stride + d, h_.q_stride, std::min(mr, count_ - i), mr, depth,
                            left_ + i * gemm_.words(depth));
        }
        packed_ = d;
      }
      for (int64_t j = 0; j < keys; j += nr) {
        const int64_t n = std::min(nr, keys - j);
        gemm_.pack_across(h_.k + (key + j) * h_.k_stride + d, h_.k_stride, n, nr, depth, right_);
        for (int64_t i = from; i < count_; i += mr) {
          gemm_.tile(depth, left_ + i * gemm_.words(depth), right_, h_.shape.scale, d > 0, std::min(mr, count_ - i), n,
                     scores_ + i * kKeyBlock + j, kKeyBlock);
        }
      }
    }
  }

  // The same in matrix registers.
  void score_blocks(int64_t from, int64_t key, int64_t keys) {
    const BlockSource q = {h_.q, h_.q_stride}, k = {h_.k, h_.k_stride};
    const int64_t panels = ceil_div(keys, kPanelSide);
    for (int64_t d = 0; d < h_.shape.dim; d += kPanelDepth) {
      const int64_t depth = std::min(kPanelDepth, h_.shape.dim - d), steps = ceil_div(depth, kStepDepth);
      if (packed_ != d) {
        for (int64_t i = 0; i < count_; i += kPanelSide) {
          blocks_->pack_rows(q, query_ + i, std::min(kPanelSide, count_ - i), d, depth, panel(left_, i, steps));
        }
        packed_ = d;
      }
      for (int64_t j = 0; j < keys; j += kPanelSide) {
        blocks_->pack_pairs(k, key + j, std::min(kPanelSide, keys - j), d, depth, panel(right_, j, steps));
      }
      for (int64_t i = from; i < count_; i += kPanelSide) {
        blocks_->multiply(panel(left_, i, steps), right_, panels, steps, false, sums_, {}, {});
        for (int64_t j = 0; j < keys; j += kPanelSide) {
          blocks_->store(sums_ + j * kPanelSide, false, h_.shape.scale, nullptr, d > 0,
                         std::min(kPanelSide, count_ - i), std::min(kPanelSide, keys - j), scores_ + i * kKeyBlock + j,
                         kKeyBlock);
        }
      }
    }
  }

  void combine_blocks(int64_t from, int64_t key, int64_t keys) {
    const BlockSource weights = {scores_, kKeyBlock}, v = {h_.v, h_.v_stride, true};
    const int64_t steps = ceil_div(keys, kStepDepth);
    for (int64_t i = from; i < count_; i += kPanelSide) {
      blocks_->pack_rows(weights, i, std::min(kPanelSide, count_ - i), 0, keys, panel(weights_, i, steps));
    }
    for (int64_t first = 0; first < h_.shape.value_dim; first += kValueBlock) {
      const int64_t n = std::min(kValueBlock, h_.shape.value_dim - first);
      for (int64_t j = 0; j < n; j += kPanelSide) {
        blocks_->pack_pairs(v, first + j, std::min(kPanelSide, n - j), key, keys, panel(right_, j, steps));
      }
      for (int64_t i = from; i < count_; i += kPanelSide) {
        blocks_->multiply(panel(weights_, i, steps), right_, ceil_div(n, kPanelSide), steps, false, sums_, {}, {});
        for (int64_t j = 0; j < n; j += kPanelSide) {
          blocks_->store(sums_ + j * kPanelSide, false, 1.0f, nullptr, true, std::min(kPanelSide, count_ - i),
                         std::min(kPanelSide, n - j), out(i) + first + j, h_.out_stride);
        }
      }
    }
  }

  // That of row i, of panels of `steps`.
  static char* panel(float* panels, int64_t i, int64_t steps) {
    return reinterpret_cast<char*>(panels) + i / kPanelSide * steps * kStepBytes;
  }

  // The keys outside [begin, end) become -infinity, in whole rows, so that no vector is cut; and the largest score that
  // row i has seen so far is known, with what it was before.
  void hide(int64_t i, int64_t begin, int64_t end) {
    float* row = scores_ + i * kKeyBlock;
    std::fill(row, row + std::min(begin, kKeyBlock), -std::numeric_limits<float>::infinity());
    std::fill(row + std::max(begin, end), row + kKeyBlock, -std::numeric_limits<float>::infinity());
    const float before = largest_[i];
    if (begin < end) largest_[i] = std::max(before, ops_.max(row, kKeyBlock));
    // A row that has seen nothing yet keeps its nothing: -infinity - -infinity would be no number.
    shrink_[i] = before == largest_[i] ? 0.0f : before - largest_[i];
  }

  // Rows of scores_ become exp(score - largest); what was summed with the largest score before shrinks to match.
  void weigh(int64_t from) {
    ops_.exp_minus(shrink_ + from, 0.0f, count_ - from, shrink_ + from);
    for (int64_t i = from; i < count_; ++i) {
      float* row = scores_ + i * kKeyBlock;
      const float shift = largest_[i] > -std::numeric_limits<float>::infinity() ? largest_[i] : 0.0f;
      const float sum = ops_.exp_minus(row, shift, kKeyBlock, row);
      if (shrink_[i] != 1.0f) ops_.scale(out(i), shrink_[i], h_.shape.value_dim);
      sum_[i] = sum_[i] * shrink_[i] + sum;
    }
  }

  // out += scores_ v.
  void combine(int64_t from, int64_t key, int64_t keys) {
    const int64_t mr = gemm_.mr, nr = gemm_.nr;
    for (int64_t i = from; i < count_; i += mr) {
      gemm_.pack_across(scores_ + i * kKeyBlock, kKeyBlock, std::min(mr, count_ - i), mr, keys,
                        weights_ + i * gemm_.words(keys));
    }
    for (int64_t j = 0; j < h_.shape.value_dim; j += nr) {
      const int64_t n = std::min(nr, h_.shape.value_dim - j);
      gemm_.pack_along(h_.v + key * h_.v_stride + j, h_.v_stride, n, nr, keys, right_);
      for (int64_t i = from; i < count_; i += mr) {
        gemm_.tile(keys, weights_ + i * gemm_.words(keys), right_, 1.0f, true, std::min(mr, count_ - i), n, out(i) + j,
                   h_.out_stride);
      }
    }
  }

  const Head& h_;
  const PanelKernels& gemm_;
  const BlockKernels* const blocks_;  // null: the panels'
  const OpsKernels& ops_;
  const int64_t query_, count_;
  int64_t packed_ = -1;
  float largest_[kQueryBlock], sum_[kQueryBlock], shrink_[kQueryBlock];
  alignas(64) float left_[kQueryBlock * kDepth];
  alignas(64) float right_[kKeyBlock * kDepth];
  alignas(64) float scores_[kQueryBlock * kKeyBlock];
  alignas(64) float weights_[kQueryBlock * kKeyBlock];
  alignas(64) float sums_[kPanelSide * kValueBlock];
};

}  // namespace

void adjust_scores(const HeadShape& shape, int64_t first, int64_t count, float* score) {
  if (shape.cap > 0) {
    for (int64_t j = 0; j < count; ++j) score[j] = shape.cap * std::tanh(score[j] / shape.cap);
  }
  if (shape.slope != 0) {
    for (int64_t j = 0; j < count; ++j) score[j] += shape.slope * static_cast<float>(first + j);
  }
}

void attention_head(const HeadShape& shape, const float* q, int64_t q_stride, const float* k, int64_t k_stride,
                    const float* v, int64_t v_stride, int64_t first, int64_t queries, float* scratch, float* out,
                    int64_t out_stride) {
  const Head head = {shape, q, q_stride, k, k_stride, v, v_stride, out, out_stride};
  const auto begin_of = [&](int64_t query) {
    return shape.window > 0 ? std::max<int64_t>(first + query - shape.window + 1, 0) : int64_t{0};
  };
  if (queries < kFewQueries) {
    for (int64_t i = 0; i < queries; ++i) {
      attend_one(head, i, begin_of(i), first + (shape.causal ? i + 1 : queries), scratch);
    }
    return;
  }
  std::optional<AmxTiles> tiles;
  if (blocks(shape.products)) tiles.emplace();
  for (int64_t i = 0; i < queries; i += kQueryBlock) {
    const int64_t count = std::min(kQueryBlock, queries - i);
    Block block(head, i, count);
    const int64_t end = first + (shape.causal ? i + count : queries);
    for (int64_t key = begin_of(i) / kKeyBlock * kKeyBlock; key < end; key += kKeyBlock) {
      block.add(key, std::min(kKeyBlock, end - key), first);
    }
    block.finish();
  }
}

}  // namespace qz
