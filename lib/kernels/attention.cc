#include <algorithm>
#include <cmath>
#include <limits>

#include "base/checked.h"
#include "kernels/engines.h"
#include "kernels/ops.h"

namespace qz {
namespace {

// Blocks of a prompt's attention: all buffers together are 128 KiB of stack. Multiples of every engine's mr and nr.
constexpr int64_t kQueryBlock = 96, kKeyBlock = 64, kDepth = 128;
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
      : h_(head), gemm_(panels(head.shape.products)), ops_(*engine().ops), query_(query), count_(count) {
    for (int64_t i = 0; i < count; ++i) {
      largest_[i] = -std::numeric_limits<float>::infinity();
      sum_[i] = 0;
      std::fill_n(out(i), h_.shape.value_dim, 0.0f);
    }
  }

  // Row i sees keys [begin[i], end[i]) of all; this adds those in [key, key + keys).
  void add(int64_t key, int64_t keys, int64_t first) {
    const HeadShape& shape = h_.shape;
    score(key, keys);
    for (int64_t i = 0; i < count_; ++i) {
      adjust_scores(shape, key, keys, scores_ + i * kKeyBlock);
      const int64_t position = first + query_ + i;
      const int64_t begin = shape.window > 0 ? std::max<int64_t>(position - shape.window + 1 - key, 0) : 0;
      const int64_t end = shape.causal ? std::clamp<int64_t>(position + 1 - key, 0, keys) : keys;
      weigh(i, std::min(begin, keys), end, keys);
    }
    combine(key, keys);
  }

  void finish() {
    for (int64_t i = 0; i < count_; ++i) ops_.scale(out(i), 1.0f / sum_[i], h_.shape.value_dim);
  }

 private:
  float* out(int64_t i) { return h_.out + (query_ + i) * h_.out_stride; }

  // scores_ = scale * q k^T.
  void score(int64_t key, int64_t keys) {
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
        for (int64_t i = 0; i < count_; i += mr) {
          gemm_.tile(depth, left_ + i * gemm_.words(depth), right_, h_.shape.scale, d > 0, std::min(mr, count_ - i), n,
                     scores_ + i * kKeyBlock + j, kKeyBlock);
        }
      }
    }
  }

  // Row i of scores_ becomes exp(score - running maximum) on [begin, end) and 0 elsewhere.
  void weigh(int64_t i, int64_t begin, int64_t end, int64_t keys) {
    float* row = scores_ + i * kKeyBlock;
    if (begin >= end) {
      std::fill_n(row, keys, 0.0f);
      return;
    }
    const float before = largest_[i];
    // Whole rows, so that no vector is cut: what is not seen becomes exp(-infinity) = 0.
    std::fill(row, row + begin, -std::numeric_limits<float>::infinity());
    std::fill(row + end, row + kKeyBlock, -std::numeric_limits<float>::infinity());
    largest_[i] = std::max(before, ops_.max(row, kKeyBlock));
    const float sum = ops_.exp_minus(row, largest_[i], kKeyBlock, row);
    if (largest_[i] == before) {
      sum_[i] += sum;
      return;
    }
    float shrink = 0;
    ops_.exp_minus(&before, largest_[i], 1, &shrink);
    sum_[i] = sum_[i] * shrink + sum;
    ops_.scale(out(i), shrink, h_.shape.value_dim);
  }

  // out += scores_ v.
  void combine(int64_t key, int64_t keys) {
    const int64_t mr = gemm_.mr, nr = gemm_.nr;
    for (int64_t i = 0; i < count_; i += mr) {
      gemm_.pack_across(scores_ + i * kKeyBlock, kKeyBlock, std::min(mr, count_ - i), mr, keys,
                        weights_ + i * gemm_.words(keys));
    }
    for (int64_t j = 0; j < h_.shape.value_dim; j += nr) {
      const int64_t n = std::min(nr, h_.shape.value_dim - j);
      gemm_.pack_along(h_.v + key * h_.v_stride + j, h_.v_stride, n, nr, keys, right_);
      for (int64_t i = 0; i < count_; i += mr) {
        gemm_.tile(keys, weights_ + i * gemm_.words(keys), right_, 1.0f, true, std::min(mr, count_ - i), n, out(i) + j,
                   h_.out_stride);
      }
    }
  }

  const Head& h_;
  const PanelKernels& gemm_;
  const OpsKernels& ops_;
  const int64_t query_, count_;
  int64_t packed_ = -1;
  float largest_[kQueryBlock], sum_[kQueryBlock];
  alignas(64) float left_[kQueryBlock * kDepth];
  alignas(64) float right_[kKeyBlock * kDepth];
  alignas(64) float scores_[kQueryBlock * kKeyBlock];
  alignas(64) float weights_[kQueryBlock * kKeyBlock];
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
