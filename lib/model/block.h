// One transformer block in memory and its forward pass, cut at the four places where a linear layer reads: attention
// in, attention out, mlp in, mlp out. The same code runs plain evaluation, the staged quantization forward, and
// sessions with a KV cache.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "kernels/low_bit.h"
#include "model/model.h"
#include "packed/integer_product.h"

namespace qz {

// A linear layer ready to multiply: dense storage of the checkpoint's type, or a canonical matrix. Replaceable.
class Linear {
 public:
  bool present() const { return rows > 0; }
  int64_t rows = 0, cols = 0;
  std::vector<float> bias;  // empty: none
  void set_dense(std::vector<uint8_t> bytes, DType dtype);
  void set_f32(Matrix w);
  void set_matrix(std::shared_ptr<const QMatrix> q);
  const std::shared_ptr<const QMatrix>& matrix() const { return q_; }  // null: dense, or tiled
  // From now on multiplies the codes of its canonical matrix as they are, re-tiled for the kernels of few bits, and
  // lets go of that matrix. Changes nothing where there is none, or one that these kernels do not read. kOutOfMemory.
  Status tile(const Context& context);
  // y[m][rows] = x W^T + bias (accumulate: y += ...).
  Status apply(const Context& context, MatrixView x, bool accumulate, float* y, Progress* progress = nullptr) const;
  // The same where the rows of y are `stride` apart.
  Status apply_strided(const Context& context, MatrixView x, bool accumulate, float* y, int64_t stride,
                       Progress* progress) const;
  Matrix to_f32() const;

 private:
  std::vector<uint8_t> bytes_;
  DType dtype_ = DType::kF32;
  Matrix f32_;
  std::shared_ptr<const QMatrix> q_;
  std::shared_ptr<const TiledWeights> tiles_;
  InputRule inputs_;  // of tiles_
};

struct NormWeights {
  std::vector<float> weight, bias;  // weight empty: no norm
};

// A feed-forward network: gated with gate and up, or with both in gate_up, or plain with up alone.
struct Feed {
  Linear gate, up, gate_up, down;
  Linear& at(Role role);
  const Linear& at(Role role) const { return const_cast<Feed*>(this)->at(role); }
};

struct Block {
  int64_t layer = 0;
  NormWeights attn_norm, attn_post_norm, mlp_norm, mlp_post_norm, q_norm, k_norm;
  Linear q, k, v, qkv, o;       // q, k and v, or all in qkv
  Linear q_a, q_b, kv_a, kv_b;  // latent attention: q or q_a and q_b, kv_a, kv_b
  std::vector<float> q_a_norm, kv_a_norm;
  Feed mlp;  // or the shared expert, where there is one
  Linear router, shared_scale;
  std::vector<float> router_bias;
  std::vector<Feed> experts;  // empty: read when they are needed
  bool mixture() const { return router.present(); }
  Linear& at(Role role);
  const Linear& at(Role role) const { return const_cast<Block*>(this)->at(role); }
};

// Where the heads of queries, keys and values lie in a row of projections: what q, k and v give, one after the other,
// or what qkv gives, in its order.
struct HeadLayout {
  int64_t width = 0;  // of a row
  int64_t dim = 0, value_dim = 0;
  bool grouped = false;
  int64_t heads = 0, kv_heads = 0;
  int64_t q(int64_t head) const {
    const int64_t group = heads / kv_heads;
    return grouped ? (head / group * (group + 2) + head % group) * dim : head * dim;
  }
  int64_t k(int64_t head) const {
    const int64_t group = heads / kv_heads;
    return grouped ? (head * (group + 2) + group) * dim : (heads + head) * dim;
  }
  int64_t v(int64_t head) const { return grouped ? k(head) + dim : (heads + kv_heads) * dim + head * value_dim; }
};
HeadLayout head_layout(const Model& model, const Block& block);

// Whether a block's experts are kept in memory or read each time.
enum class Experts : int32_t { kInMemory, kOnDemand };

// Reads block `layer`. plain = true: linears are taken as the original's even when the model has canonical matrices in
// memory.
Result<Block> load_block(const Model& model, int64_t layer, Experts experts = Experts::kInMemory);
// Linear::tile of all of them: for a block that is only run.
Status tile_linears(const Context& context, Block* block);

// The rows of several sequences, back to back. first[i] = absolute position of the sequence's first row (0 unless a KV
// cache is used).
struct Sequences {
  std::vector<int64_t> start;  // start[i] = first row of sequence i; start.back() = total rows
  std::vector<int64_t> first;  // empty = all zero
  int64_t count() const { return static_cast<int64_t>(start.size()) - 1; }
  int64_t rows() const { return start.back(); }
  int64_t length(int64_t i) const { return start[static_cast<size_t>(i + 1)] - start[static_cast<size_t>(i)]; }
  int64_t first_position(int64_t i) const { return first.empty() ? 0 : first[static_cast<size_t>(i)]; }
};

// Keys (after norm and rope) and values of one layer, of all sequences, each in one array:
// [sequences][kv_heads][capacity][head_dim or value_dim], so that a head reads one run of memory. Many small arrays
// would take small pages, and a batch's decoding would wait for their addresses to be looked up. attention_mix makes
// room as sequences grow.
struct LayerCache {
  int64_t slots = 0;     // sequences * kv_heads
  int64_t capacity = 0;  // positions of each
  Matrix keys, values;   // slots * capacity rows
  void reserve(int64_t positions, int64_t key_dim, int64_t value_dim);
};

// cos/sin tables for positions [0, n): rows of `half` = rotary_dim/2 (0: the model does not rotate), scaled by yarn's
// attention factor. Dynamic scaling and longrope look at n.
struct Angles {
  std::vector<float> cos, sin;
};
struct RopeTable {
  int64_t half = 0, positions = 0;
  Angles global, local;  // local: of the layers that config.rope_local names; empty if there are none
};
RopeTable make_rope_table(const ModelConfig& config, int64_t positions);

// --- the stages. All row-major, rows = sequences.rows(); r is the residual stream [rows][hidden]. In a parallel block
// mlp_input must be called before attention_output: both halves read the stream as it was.
// ----------------------------------- x = what q, k, v read (norm of r, or r itself when the norm comes after).
Status attention_input(const Model& model, const Block& block, MatrixView r, float* x);
// p[rows][layout.width]: what q, k and v give for x, before head norms and positions.
Status attention_project(const Model& model, const Block& block, MatrixView x, float* p, Progress* progress = nullptr);
// a = what o reads [rows][heads * value_dim]: from q, k, v projections of x. cache may be null (each sequence starts at
// position 0).
Status attention_mix(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     MatrixView x, LayerCache* cache, float* a, Progress* progress = nullptr);
// r += o(a), with the norm that comes before or after the addition.
Status attention_output(const Model& model, const Block& block, MatrixView a, float* r, Progress* progress = nullptr);
// x = what gate and up read.
Status mlp_input(const Model& model, const Block& block, MatrixView r, float* x);
// m = what down reads [rows][intermediate].
Status mlp_mix(const Model& model, const Block& block, MatrixView x, float* m, Progress* progress = nullptr);
Status feed_mix(const Model& model, const Feed& feed, MatrixView x, float* m, Progress* progress = nullptr);
// r += down(m) and, of x, what the experts give, with the norm that comes before or after the addition. x is not read
// where there are no experts.
Status mlp_output(const Model& model, const Block& block, MatrixView x, MatrixView m, float* r,
                  Progress* progress = nullptr);
// r += y, what the MLP gives, with those norms.
Status mlp_add(const Model& model, const Block& block, MatrixView y, float* r);

// All of it, in place on r.
Status block_forward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     LayerCache* cache, float* r, Progress* progress = nullptr);

// --- the ends
// ------------------------------------------------------------------------------------------------------------------------
// What stands before the first block and after the last one. Texts that a classifier reads have one row of logits each.
// Kept in the checkpoint's dtype.
class Ends {
 public:
  static Result<Ends> load(const Model& model);  // a quantized head is tiled
  // r[rows][hidden] = embedding (scaled) (+ project_in) (+ learned position) (+ token type), normed. kInvalidArgument
  // names sequence and position of a bad id.
  Status embed(const Model& model, const Sequences& sequences, const int32_t* ids, float* r) const;
  // The same from embeddings that are ready, x[rows][embed_dim]: scaled, where the family scales.
  Status embed_rows(const Model& model, const Sequences& sequences, const float* x, float* r) const;
  // logits[rows][outputs] of the rows of r: final norm, project_out, head. Call with few hundred rows at a time; of a
  // classifier, with the first row of each text.
  // x = what the head reads [rows][embed_dim]: final norm, project_out.
  Status head_input(const Model& model, MatrixView r, float* x, Progress* progress = nullptr) const;
  Status logits(const Model& model, MatrixView r, float* logits, Progress* progress = nullptr) const;

 private:
  Status check_positions(const Model& model, const Sequences& sequences) const;
  // r = x (+ project_in) (+ learned position) (+ token type), normed if the family does. x may be r unless there is a
  // projection.
  Status place(const Model& model, const Sequences& sequences, float* x, float* r) const;

  std::vector<uint8_t> embed_;
  DType embed_dtype_ = DType::kF32;
  int64_t embed_rows_ = 0;
  Matrix positions_;
  std::vector<float> token_type_;  // of type 0; empty: the family has none
  NormWeights embed_norm_, final_norm_, head_norm_;
  std::vector<float> head_bias_;  // of a tied head
  Linear head_dense_, pooler_;
  Linear project_in_, project_out_, head_;  // head_ absent: the embedding is the head
};

}  // namespace qz
