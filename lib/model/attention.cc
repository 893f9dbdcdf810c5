// The attention half of a block: norm, projections, positions, scores over a sequence or its cache, output projection.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "kernels/ops.h"
#include "model/heads.h"
#include "model/latent.h"
#include "model/scratch.h"
#include "tensor/convert.h"

namespace qz {

Status norm_rows(const Model& model, const NormWeights& norm, MatrixView x, float* out) {
  const auto eps = static_cast<float>(model.config().norm_eps);
  const bool rms = model.arch().norm == NormKind::kRms;
  return for_rows(model.context(), x.rows, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      float* y = out + i * x.cols;
      if (norm.weight.empty()) {
        std::memmove(y, x.row(i), static_cast<size_t>(x.cols) * sizeof(float));
      } else if (rms) {
        rms_norm(x.row(i), norm.weight.data(), eps, x.cols, y);
      } else {
        layer_norm(x.row(i), norm.weight.data(), norm.bias.data(), eps, x.cols, y);
      }
    }
  });
}

HeadLayout head_layout(const Model& model, const Block& block) {
  const ModelConfig& c = model.config();
  HeadLayout layout;
  layout.dim = c.head_dim, layout.value_dim = c.value_dim;
  layout.heads = c.heads, layout.kv_heads = c.kv_heads;
  layout.grouped = block.qkv.present() && model.arch().qkv_order == QkvOrder::kGrouped;
  layout.width = (c.heads + c.kv_heads) * c.head_dim + c.kv_heads * c.value_dim;
  return layout;
}

namespace {

// Slopes of Press et al. (arXiv 2108.12409) for a power of two of heads: 2^(-8 (h + 1) / heads). For other numbers the
// rest takes every other slope of the next power, as the authors' code does.
double alibi_slope(int64_t head, int64_t heads) {
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  const int64_t of = head < power ? power : 2 * power;
  const int64_t step = head < power ? head + 1 : 2 * (head - power) + 1;
  return std::pow(2.0, -8.0 * static_cast<double>(step) / static_cast<double>(of));
}

}  // namespace

HeadShape head_shape(const Model& model, const Block& block, int64_t head) {
  const ModelConfig& c = model.config();
  const auto layer = static_cast<size_t>(block.layer);
  HeadShape shape;
  shape.dim = c.head_dim, shape.value_dim = c.value_dim;
  shape.scale = static_cast<float>(c.score_scale[layer]);
  shape.cap = static_cast<float>(c.score_cap);
  shape.window = c.window[layer];
  shape.causal = c.causal;
  shape.products = model.context().products;
  if (c.position == PositionKind::kAlibi) {
    const double slope = alibi_slope(head, c.heads);
    // Falcon adds it before the scores are scaled, from slopes in bfloat16.
    const bool scaled = model.arch().alibi_scaled;
    shape.slope = scaled ? round_to(static_cast<float>(slope), DType::kBF16) * shape.scale : static_cast<float>(slope);
  }
  return shape;
}

void place_head(const Model& model, const Block& block, const NormWeights& norm, const RopeTable& rope,
                int64_t position, float* head) {
  const ModelConfig& c = model.config();
  if (!norm.weight.empty()) {
    rms_norm(head, norm.weight.data(), static_cast<float>(c.norm_eps), c.head_dim, head);
  }
  if (rope.half == 0) return;
  head += c.latent.plain;
  const Angles& angles = c.rope_local[static_cast<size_t>(block.layer)] ? rope.local : rope.global;
  const float *cos = angles.cos.data() + position * rope.half, *sin = angles.sin.data() + position * rope.half;
  if (c.rope_pairs == RopePairs::kHalves) return rope_rotate(head, rope.half, cos, sin);
  rope_rotate_neighbours(head, rope.half, cos, sin);
}

Status attention_project(const Model& model, const Block& block, MatrixView x, float* p, Progress* progress) {
  const Context& context = model.context();
  if (block.qkv.present()) return block.qkv.apply(context, x, false, p, progress);
  const HeadLayout layout = head_layout(model, block);
  if (block.kv_a.present()) return latent_project(model, block, layout, x, p, progress);
  QZ_TRY(block.q.apply_strided(context, x, false, p, layout.width, progress));
  QZ_TRY(block.k.apply_strided(context, x, false, p + layout.k(0), layout.width, progress));
  return block.v.apply_strided(context, x, false, p + layout.v(0), layout.width, progress);
}

namespace {

constexpr int64_t kFirstCapacity = 64;  // positions a cache begins with

void widen(int64_t slots, int64_t from, int64_t to, int64_t dim, Matrix* m) {
  Matrix larger(slots * to, dim);
  for (int64_t s = 0; s < slots && from > 0; ++s) {
    std::memcpy(larger.row(s * to), m->row(s * from), static_cast<size_t>(from * dim) * sizeof(float));
  }
  *m = std::move(larger);
}

}  // namespace

// What is there stays. Doubles, so that token by token costs little.
void LayerCache::reserve(int64_t positions, int64_t key_dim, int64_t value_dim) {
  if (capacity >= positions) return;
  const int64_t room = std::max({positions, 2 * capacity, kFirstCapacity});
  widen(slots, capacity, room, key_dim, &keys);
  widen(slots, capacity, room, value_dim, &values);
  capacity = room;
}

namespace {

// Sequences [begin, end) of `sequences`; x and a start at the first row of sequence `begin`.
Status mix_sequences(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     int64_t begin, int64_t end, MatrixView x, LayerCache* cache, float* a, Progress* progress) {
  const ModelConfig& c = model.config();
  const Context& context = model.context();
  const HeadLayout layout = head_layout(model, block);
  const int64_t base = sequences.start[static_cast<size_t>(begin)];
  Scratch p(x.rows * layout.width);
  QZ_TRY(attention_project(model, block, x, p.data(), progress));

  // A row's position follows from its sequence.
  std::vector<int64_t> sequence_of(static_cast<size_t>(x.rows));
  int64_t longest = 0;
  for (int64_t s = begin; s < end; ++s) {
    const int64_t first = sequences.start[static_cast<size_t>(s)] - base, length = sequences.length(s);
    std::fill_n(sequence_of.begin() + first, length, s);
    longest = std::max(longest, sequences.first_position(s) + length);
  }
  if (cache != nullptr) cache->reserve(longest, layout.dim, layout.value_dim);
  assert(rope.half == 0 || rope.positions >= longest);
  QZ_TRY(for_rows(context, x.rows, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t s = sequence_of[static_cast<size_t>(i)];
      const int64_t position = sequences.first_position(s) + i - (sequences.start[static_cast<size_t>(s)] - base);
      float* row = p.data() + i * layout.width;
      for (int64_t h = 0; h < c.heads; ++h) {
        place_head(model, block, block.q_norm, rope, position, row + layout.q(h));
      }
      for (int64_t h = 0; h < c.kv_heads; ++h) {
        place_head(model, block, block.k_norm, rope, position, row + layout.k(h));
        if (cache == nullptr) continue;
        const int64_t place = (s * c.kv_heads + h) * cache->capacity + position;
        std::copy_n(row + layout.k(h), layout.dim, cache->keys.row(place));
        std::copy_n(row + layout.v(h), layout.value_dim, cache->values.row(place));
      }
    }
  }));

  const int64_t heads_a_key = c.heads / c.kv_heads, a_width = c.heads * c.value_dim;
  std::vector<std::vector<float>> scores(context.pool->threads());
  const auto attend = [&](uint32_t index, uint32_t worker) {
    const int64_t s = begin + index / c.heads, h = index % c.heads, kv = h / heads_a_key;
    const int64_t row = sequences.start[static_cast<size_t>(s)] - base, length = sequences.length(s);
    if (length == 0) return Status();
    const int64_t first = sequences.first_position(s);
    const float* mine = p.data() + row * layout.width;
    const float *keys = mine + layout.k(kv), *values = mine + layout.v(kv);
    int64_t k_stride = layout.width, v_stride = layout.width;
    if (cache != nullptr) {
      const int64_t place = (s * c.kv_heads + kv) * cache->capacity;
      keys = cache->keys.row(place), values = cache->values.row(place);
      k_stride = layout.dim, v_stride = layout.value_dim;
    }
    assert(cache != nullptr || first == 0);
    std::vector<float>& scratch = scores[worker];
    if (scratch.size() < static_cast<size_t>(longest)) scratch.resize(static_cast<size_t>(longest));
    attention_head(head_shape(model, block, h), mine + layout.q(h), layout.width, keys, k_stride, values, v_stride,
                   first, length, scratch.data(), a + row * a_width + h * c.value_dim, a_width);
    return Status();
  };
  return parallel_for(context, static_cast<uint32_t>((end - begin) * c.heads), attend, progress);
}

}  // namespace

Status attention_input(const Model& model, const Block& block, MatrixView r, float* x) {
  return norm_rows(model, model.config().norm_first ? block.attn_norm : NormWeights(), r, x);
}

Status attention_mix(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     MatrixView x, LayerCache* cache, float* a, Progress* progress) {
  assert(x.rows == sequences.rows() && x.stride == x.cols);
  for (int64_t i = 0, end = 0; i < sequences.count(); i = end) {
    end = chunk_end(sequences, i);
    const int64_t row = sequences.start[static_cast<size_t>(i)];
    const int64_t rows = sequences.start[static_cast<size_t>(end)] - row;
    const MatrixView part{x.row(row), rows, x.cols, x.stride};
    float* out = a + row * block.o.cols;
    QZ_TRY(mix_sequences(model, block, rope, sequences, i, end, part, cache, out, progress));
  }
  return {};
}

Status add_half(const Model& model, const NormWeights& norm, const NormWeights& post, int64_t rows, float* r,
                const std::function<Status(float* y)>& add) {
  const ModelConfig& c = model.config();
  const MatrixView stream{r, rows, c.hidden, c.hidden};
  if (c.norm_first && c.residual_normed) QZ_TRY(norm_rows(model, norm, stream, r));
  if (post.weight.empty()) {
    QZ_TRY(add(r));
  } else {
    Scratch y(rows * c.hidden);
    std::fill_n(y.data(), rows * c.hidden, 0.0f);
    QZ_TRY(add(y.data()));
    QZ_TRY(norm_rows(model, post, y.view(rows, c.hidden), y.data()));
    for (int64_t i = 0; i < rows * c.hidden; ++i) r[i] += y.data()[i];
  }
  return c.norm_first ? Status() : norm_rows(model, norm, stream, r);
}

Status attention_output(const Model& model, const Block& block, MatrixView a, float* r, Progress* progress) {
  return add_half(model, block.attn_norm, block.attn_post_norm, a.rows, r,
                  [&](float* y) { return block.o.apply(model.context(), a, true, y, progress); });
}

}  // namespace qz
