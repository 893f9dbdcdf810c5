// One transformer block in memory and its forward pass, cut at the four places where a linear layer reads: attention
// in, attention out, mlp in, mlp out. The same code runs plain evaluation, the staged quantization forward, and
// sessions with a KV cache.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "model/model.h"

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
  const std::shared_ptr<const QMatrix>& matrix() const { return q_; }  // null: dense
  // y[m][rows] = x W^T + bias (accumulate: y += ...).
  Status apply(const Context& context, MatrixView x, bool accumulate, float* y, Progress* progress = nullptr) const;
  Matrix to_f32() const;

 private:
  std::vector<uint8_t> bytes_;
  DType dtype_ = DType::kF32;
  Matrix f32_;
  std::shared_ptr<const QMatrix> q_;
};

struct NormWeights {
  std::vector<float> weight, bias;  // weight empty: no norm
};

struct Block {
  int64_t layer = 0;
  NormWeights attn_norm, mlp_norm, q_norm, k_norm;
  Linear q, k, v, o, gate, up, down;  // gate absent for MlpKind::kPlain
  Linear& at(Role role);
  const Linear& at(Role role) const { return const_cast<Block*>(this)->at(role); }
};

// Reads block `layer`. plain = true: linears are taken as the original's even when the model has canonical matrices in
// memory.
Result<Block> load_block(const Model& model, int64_t layer);

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

// Keys (after norm and rope) and values of one layer, per sequence slot: [kv_heads][capacity][head_dim], so that a head
// reads one run of memory. attention_mix makes room as sequences grow.
struct LayerCache {
  std::vector<Matrix> keys, values;  // one per sequence: kv_heads * capacity rows
};

// cos/sin tables for positions [0, n): rows of rotary_dim/2, scaled by yarn's attention factor. seq_len: dynamic
// scaling looks at it.
struct RopeTable {
  int64_t half = 0, positions = 0;
  std::vector<float> cos, sin;
};
RopeTable make_rope_table(const ModelConfig& config, int64_t positions);

// --- the stages. All row-major, rows = sequences.rows(); r is the residual stream [rows][hidden].
// ----------------------------------- x = what q, k, v read (norm of r, or r itself when the norm comes after).
Status attention_input(const Model& model, const Block& block, MatrixView r, float* x);
// a = what o reads [rows][heads * head_dim]: from q, k, v projections of x. cache may be null (each sequence starts at
// position 0).
Status attention_mix(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     MatrixView x, LayerCache* cache, float* a, Progress* progress = nullptr);
// r += o(a), then the norm if it comes after.
Status attention_output(const Model& model, const Block& block, MatrixView a, float* r, Progress* progress = nullptr);
// x = what gate and up read.
Status mlp_input(const Model& model, const Block& block, MatrixView r, float* x);
// m = what down reads [rows][intermediate].
Status mlp_mix(const Model& model, const Block& block, MatrixView x, float* m, Progress* progress = nullptr);
// r += down(m), then the norm if it comes after.
Status mlp_output(const Model& model, const Block& block, MatrixView m, float* r, Progress* progress = nullptr);

// All of it, in place on r.
Status block_forward(const Model& model, const Block& block, const RopeTable& rope, const Sequences& sequences,
                     LayerCache* cache, float* r, Progress* progress = nullptr);

// --- the ends
// ------------------------------------------------------------------------------------------------------------------------
// What stands before the first block and after the last one. Kept in the checkpoint's dtype.
class Ends {
 public:
  static Result<Ends> load(const Model& model);
  // r[rows][hidden] = embedding (+ learned position) (+ project_in). kInvalidArgument names sequence and position of a
  // bad id.
  Status embed(const Model& model, const Sequences& sequences, const int32_t* ids, float* r) const;
  // logits[rows][vocab] of the rows of r: final norm, project_out, head. Call with few hundred rows at a time.
  // x = what the head reads [rows][embed_dim]: final norm, project_out.
  Status head_input(const Model& model, MatrixView r, float* x, Progress* progress = nullptr) const;
  Status logits(const Model& model, MatrixView r, float* logits, Progress* progress = nullptr) const;

 private:
  std::vector<uint8_t> embed_;
  DType embed_dtype_ = DType::kF32;
  int64_t embed_rows_ = 0;
  Matrix positions_;
  NormWeights final_norm_;
  Linear project_in_, project_out_, head_;  // head_ absent: the embedding is the head
};

}  // namespace qz
