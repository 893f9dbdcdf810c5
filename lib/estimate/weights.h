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

// "f32" "bf16" "f16": plain. [FORMAT:]SCHEME: "w4g128" "gptq:w4g128" "compressed-tensors:w8"; names of formats as
// format/format.h lists them, names of schemes as packed/scheme.h. Formats that this library does not write yet are
// known by their published sizes, for estimates: weight_recipes().
class WeightSpec {
 public:
  static Result<WeightSpec> parse(const std::string& text, DType model_dtype);

  bool plain() const { return !format_ && !recipe_; }
  DType dtype() const { return dtype_; }  // of plain weights
  const std::string& text() const { return text_; }
  double bits() const;  // of one code: for ordering
  // Bytes of a rows x cols matrix. kUnsupported in the format's words when it cannot hold it.
  Result<MatrixBytes> matrix(int64_t rows, int64_t cols) const;

  struct Recipe {
    std::string_view name;  // "nf4-dq"
    double bits;            // of one code
    MatrixBytes (*bytes)(int64_t rows, int64_t cols);
    std::string_view source;
  };

 private:
  std::string text_;
  DType dtype_ = DType::kNone;
  const Format* format_ = nullptr;
  Scheme scheme_;
  const Recipe* recipe_ = nullptr;
};

const std::vector<WeightSpec::Recipe>& weight_recipes();

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
