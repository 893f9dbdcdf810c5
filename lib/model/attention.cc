// The attention half of a block: norm, projections, positions, scores over a sequence or its cache, output projection.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "kernels/ops.h"
#include "model/block.h"
#include "model/scratch.h"

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

namespace {

constexpr int64_t kFirstCapacity = 64;  // positions a cache begins with

// q/k norms, then rotation, of all heads of one row, in place.
void place_heads(const ModelConfig& c, const NormWeights& norm, const RopeTable& rope, int64_t position, int64_t heads,
                 float* row) {
  for (int64_t h = 0; h < heads; ++h) {
    float* head = row + h * c.head_dim;
    if (!norm.weight.empty()) {
      rms_norm(head, norm.weight.data(), static_cast<float>(c.norm_eps), c.head_dim, head);
    }
    if (rope.half > 0) {
      rope_rotate(head, rope.half, rope.cos.data() + position * rope.half, rope.sin.data() + position * rope.half);
    }
  }
}

// Room for `positions` rows of each head; what is there stays. Doubles, so that token by token costs little.
void grow(Matrix* m, int64_t positions, int64_t heads, int64_t head_dim) {
  const int64_t capacity = m->rows() / heads;
  if (capacity >= positions) return;
  const int64_t room = std::max({positions, 2 * capacity, kFirstCapacity});
  Matrix larger(heads * room, head_dim);
  for (int64_t h = 0; h < heads && capacity > 0; ++h) {
    std::memcpy(larger.row(h * room), m->row(h * capacity), static_cast<size_t>(capacity * head_dim) * sizeof(float));
  }
  *m = std::move(larger);
}

// One row of keys or values, all heads, to its position.
void store(const float* row, int64_t position, int64_t heads, int64_t head_dim, Matrix* m) {
  const int64_t capacity = m->rows() / heads;
  for (int64_t h = 0; h < heads; ++h) {
    std::memcpy(m->row(h * capacity + position), row + h * head_dim, static_cast<size_t>(head_dim) * sizeof(float));
  }
}

struct Projected {  // of the rows of some sequences; q, k, v each dense
  Scratch q, k, v;
};

// Sequences [begin, end) of `sequences`; x and a start at the first row of sequence `begin`.
Status mix_sequences(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     int64_t begin, int64_t end, MatrixView x, LayerCache* cache, float* a, Progress* progress) {
  const ModelConfig& c = model.config();
  const Context& context = model.context();
  const int64_t q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  const int64_t base = sequences.start[static_cast<size_t>(begin)];
  Projected p{Scratch(x.rows * q_width), Scratch(x.rows * kv_width), Scratch(x.rows * kv_width)};
  QZ_TRY(block.q.apply(context, x, false, p.q.data(), progress));
  QZ_TRY(block.k.apply(context, x, false, p.k.data(), progress));
  QZ_TRY(block.v.apply(context, x, false, p.v.data(), progress));

  // A row's position follows from its sequence.
  std::vector<int64_t> sequence_of(static_cast<size_t>(x.rows));
  int64_t longest = 0;
  for (int64_t s = begin; s < end; ++s) {
    const int64_t first = sequences.start[static_cast<size_t>(s)] - base, length = sequences.length(s);
    std::fill_n(sequence_of.begin() + first, length, s);
    longest = std::max(longest, sequences.first_position(s) + length);
    if (cache != nullptr) {
      grow(&cache->keys[static_cast<size_t>(s)], sequences.first_position(s) + length, c.kv_heads, c.head_dim);
      grow(&cache->values[static_cast<size_t>(s)], sequences.first_position(s) + length, c.kv_heads, c.head_dim);
    }
  }
  assert(rope.half == 0 || rope.positions >= longest);
  QZ_TRY(for_rows(context, x.rows, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t s = sequence_of[static_cast<size_t>(i)];
      const int64_t position = sequences.first_position(s) + i - (sequences.start[static_cast<size_t>(s)] - base);
      place_heads(c, block.q_norm, rope, position, c.heads, p.q.data() + i * q_width);
      place_heads(c, block.k_norm, rope, position, c.kv_heads, p.k.data() + i * kv_width);
      if (cache == nullptr) continue;
      store(p.k.data() + i * kv_width, position, c.kv_heads, c.head_dim, &cache->keys[static_cast<size_t>(s)]);
      store(p.v.data() + i * kv_width, position, c.kv_heads, c.head_dim, &cache->values[static_cast<size_t>(s)]);
    }
  }));

  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim)));
  const int64_t window = c.window[static_cast<size_t>(block.layer)], heads_a_key = c.heads / c.kv_heads;
  std::vector<std::vector<float>> scores(context.pool->threads());
  const auto attend = [&](uint32_t index, uint32_t worker) {
    const int64_t s = begin + index / c.heads, h = index % c.heads, kv = h / heads_a_key;
    const int64_t row = sequences.start[static_cast<size_t>(s)] - base, length = sequences.length(s);
    if (length == 0) return Status();
    const int64_t first = sequences.first_position(s);
    const float *keys = p.k.data() + row * kv_width + kv * c.head_dim, *values = p.v.data() + (keys - p.k.data());
    int64_t stride = kv_width;
    if (cache != nullptr) {
      const Matrix& k = cache->keys[static_cast<size_t>(s)];
      const Matrix& v = cache->values[static_cast<size_t>(s)];
      keys = k.row(kv * (k.rows() / c.kv_heads)), values = v.row(kv * (v.rows() / c.kv_heads));
      stride = c.head_dim;
    }
    assert(cache != nullptr || first == 0);
    std::vector<float>& mine = scores[worker];
    if (mine.size() < static_cast<size_t>(longest)) mine.resize(static_cast<size_t>(longest));
    attention_head(p.q.data() + row * q_width + h * c.head_dim, q_width, keys, values, stride, first, length,
                   c.head_dim, scale, window, mine.data(), a + row * q_width + h * c.head_dim, q_width);
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

Status attention_output(const Model& model, const Block& block, MatrixView a, float* r, Progress* progress) {
  QZ_TRY(block.o.apply(model.context(), a, true, r, progress));
  if (model.config().norm_first) return {};
  return norm_rows(model, block.attn_norm, {r, a.rows, block.o.rows, block.o.rows}, r);
}

}  // namespace qz
