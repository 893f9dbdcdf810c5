// The calibration tokens on their way through the model: once through the model as quantized so far, once through the
// original.
#pragma once
#include <functional>
#include <vector>

#include "io/tokens.h"
#include "method/device_solver.h"
#include "method/stats.h"
#include "model/block.h"

namespace qz {

// A run of whole sequences that are processed together; rows [row, row + sequences.rows()) of the activations.
struct Chunk {
  int64_t row = 0;
  Sequences sequences;
};

class Streams {
 public:
  // Cuts sequences at the model's max_seq, checks them, embeds those of token ids. two: keep the original's stream as
  // well.
  static Result<Streams> create(const Model& model, const TokenSet& calibration, bool two);

  int64_t rows() const { return rows_; }
  int64_t solving_tokens() const { return rows_ - held_sequence_rows_; }
  int64_t cut_sequences() const { return cut_; }
  bool two() const { return two_; }
  const std::vector<Chunk>& chunks() const { return chunks_; }
  Matrix& quantized() { return quantized_; }  // residual stream [rows][hidden]
  Matrix& original() { return original_; }    // empty with one stream

  // Statistics of a stage whose input has `cols` columns. produce(chunk, original?, out) writes the input of a chunk's
  // rows. residual: modules of this stage write to the residual stream. device: sums the Hessian where it can; null:
  // the CPU.
  using Produce = std::function<Status(const Chunk& chunk, bool original, float* out)>;
  Result<StageStats> collect(const Context& context, int64_t cols, bool residual, const Produce& produce,
                             Progress* progress, DeviceSolver* device = nullptr) const;
  // The same of some rows, ascending, none of whose modules writes to the residual stream.
  // produce(rows, count, original?, out) writes the inputs of rows[0 ... count).
  using ProduceRows = std::function<Status(const int64_t* rows, int64_t count, bool original, float* out)>;
  Result<StageStats> collect_rows(const Context& context, const std::vector<int64_t>& rows, int64_t cols,
                                  const ProduceRows& produce, Progress* progress, DeviceSolver* device = nullptr) const;

 private:
  bool two_ = false;
  int64_t rows_ = 0, held_sequence_rows_ = 0, cut_ = 0;
  std::vector<Chunk> chunks_;
  std::vector<uint8_t> held_;  // per row: 0 solves, 1 belongs to a held-out sequence, 2 the same and judges
  Matrix quantized_, original_;
};

}  // namespace qz
