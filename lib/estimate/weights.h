// How weights are to be stored, by name, and what one matrix then takes.
#pragma once
#include <string>
#include <vector>

#include "base/status.h"
#include "estimate/shape.h"
#include "format/format.h"

namespace qz {

struct MatrixBytes {
  uint64_t codes = 0, scales = 0;  // codes, or the plain weight; everything else that belongs to the matrix
};

// "f32" "bf16" "f16": plain. [FORMAT:]SCHEME: "w4g128" "gptq:w4g128" "compressed-tensors:w8" "nf4"; names of formats as
// format/format.h lists them, the first that can hold the scheme where none is named, names of schemes as
// packed/scheme.h. "awq" and "hqq" are what those tools store unasked. Block codes of ggml by their names: "q4_k".
class WeightSpec {
 public:
  static Result<WeightSpec> parse(const std::string& text, DType model_dtype);

  bool plain() const { return !format_ && block_bytes_ == 0; }
  DType dtype() const { return dtype_; }  // of plain weights
  const std::string& text() const { return text_; }
  double bits() const;  // of one code: for ordering
  // Bytes of a rows x cols matrix. kUnsupported in the format's words when it cannot hold it.
  Result<MatrixBytes> matrix(int64_t rows, int64_t cols) const;

 private:
  std::string text_;
  DType dtype_ = DType::kNone, model_dtype_ = DType::kNone;
  const Format* format_ = nullptr;
  Scheme scheme_;
  int64_t block_elements_ = 1, block_bytes_ = 0;  // of a block code
};

// Bytes of the parts that a format lays out: what the writer reserves.
MatrixBytes layout_bytes(const Format& format, const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx);

// Every linear layer stored as `spec` says. The head, and what the format cannot hold, stays plain in the model's type,
// as a run would leave it: `kept` names those in the blocks.
struct WeightTable {
  std::vector<MatrixBytes> linears;  // in the shape's order
  std::vector<std::string> kept;
  uint64_t embedding = 0, others = 0;
};
Result<WeightTable> store_weights(const ModelShape& shape, const std::string& weights);

}  // namespace qz
