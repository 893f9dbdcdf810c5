// Incremental decoding: all blocks in memory, one KV cache, several sequences at once if wanted (batched sampling). An
// encoder has no cache: it reads a whole text in one step.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "model/block.h"

namespace qz {

class Session {
 public:
  // max_seq: positions per sequence (0 = the model's); batch: sequences that advance together. kInvalidArgument beyond
  // learned positions.
  static Result<std::unique_ptr<Session>> create(ModelPtr model, int64_t max_seq, int64_t batch = 1);
  int64_t position() const { return position_; }
  int64_t max_seq() const { return max_seq_; }
  int64_t batch() const { return batch_; }
  const Model& model() const { return *model_; }
  // How layers multiply from now on; at first as the model's context says.
  void set_products(Products products);
  void reset() { position_ = 0; }
  // Feeds n new tokens to each sequence (ids[batch][n]); logits[batch][n][outputs] if all, else [batch][1][outputs] of
  // the last, or null; a classifier's are always [batch][1][labels]. kInvalidArgument when they do not fit max_seq or
  // an id is outside the vocabulary: nothing was fed then.
  Status step(const int32_t* ids, int64_t n, bool all, float* logits, Progress* progress = nullptr);
  // The same from embeddings that are ready, x[batch][n][embed_dim].
  Status step_embeddings(const float* x, int64_t n, bool all, float* logits, Progress* progress = nullptr);

 private:
  Session() = default;
  void extend_rope(int64_t positions);
  using Embed = std::function<Status(const Sequences& sequences, float* r)>;
  Status run(const Embed& embed, int64_t n, bool all, float* logits, Progress* progress);

  ModelPtr model_;
  int64_t max_seq_ = 0, batch_ = 1, position_ = 0;
  std::vector<Block> blocks_;
  std::unique_ptr<Ends> ends_;
  RopeTable rope_;
  std::vector<LayerCache> cache_;
};

}  // namespace qz
