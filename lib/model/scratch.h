// Memory between two stages, and how many rows go through them at once.
#pragma once
#include <functional>
#include <vector>

#include "base/rows.h"
#include "model/block.h"

namespace qz {

class Scratch {  // floats that are written before they are read
 public:
  explicit Scratch(int64_t size)
      : bytes_(static_cast<size_t>(size) * sizeof(float)), data_(static_cast<float*>(take_any(bytes_))) {}
  ~Scratch() { give_back(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* data() const { return data_; }
  MatrixView view(int64_t rows, int64_t cols) const { return {data_, rows, cols, cols}; }

 private:
  const size_t bytes_;
  float* const data_;
};

constexpr int64_t kScratchRows = 4096;  // enough that converting a weight once per chunk costs nothing

// The end of the run of sequences from `first` that goes through at once: up to kScratchRows rows, at least one
// sequence.
inline int64_t chunk_end(const Sequences& sequences, int64_t first) {
  int64_t end = first + 1, rows = sequences.length(first);
  while (end < sequences.count() && rows + sequences.length(end) <= kScratchRows) rows += sequences.length(end++);
  return end;
}

// Each row of x (stride x.stride) through the model's kind of norm into out (dense). A norm without weights copies.
Status norm_rows(const Model& model, const NormWeights& norm, MatrixView x, float* out);

// r += f, or r += post(f) where there is such a norm; `norm` is applied to r before or after, where the model does
// that. add(y) adds f to y[rows][hidden].
Status add_half(const Model& model, const NormWeights& norm, const NormWeights& post, int64_t rows, float* r,
                const std::function<Status(float* y)>& add);

Result<Linear> load_linear(const Model& model, size_t module);
Result<NormWeights> load_norm(const Model& model, const std::string& name, int64_t width);

}  // namespace qz
