// What may be stored for one matrix: the code, its width, how groups lie, symmetric or not, the type of the scales.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tensor/dtype.h"

namespace qz {

// What a code stands for; equals qz_code. Values from kFirstBlock on are GGUF block types: kFirstBlock + ggml_type
// (packed/block_code.h).
enum class CodeKind : int32_t {
  kInt = 0,      // w = scale * (code - zero)
  kNf4 = 1,      // w = scale * table[code]: packed/codebook.h
  kFp4 = 2,      // the same with bitsandbytes' 4-bit floats
  kFp8 = 3,      // the same with the 256 floats of E4M3
  kLlmInt8 = 4,  // w = scale * (code - 128) / 127: the scale is the row's largest magnitude (bitsandbytes' SCB)
};
constexpr int32_t kFirstBlock = 100;

// Which weights share a scale.
enum class Grouping : int32_t {
  kRow = 0,      // `group` columns of one row
  kFlat = 1,     // `group` elements of the matrix read row by row: blocks may cross rows (bitsandbytes)
  kStrided = 2,  // element i of the matrix read row by row is in group i mod (rows * cols / group) (HQQ's axis 0)
  kTile = 3,     // a square of `group` rows and columns (FP8 blocks)
};

// What a loader does with the inputs of the layer. It changes no weight: it is a promise of the file.
enum class Activations : int32_t {
  kNone = 0,      // they stay floats
  kToken = 1,     // 8 bits, one scale per token, found while running
  kTensor = 2,    // 8 bits, one scale for all tokens, stored with the matrix
  kOutliers = 3,  // LLM.int8(): 8 bits per token, columns with a magnitude above kOutlierThreshold apart in 16 bits
};
constexpr float kOutlierThreshold = 6.0f;  // Dettmers et al. 2022, arXiv 2208.07339, section 3.2

constexpr int32_t kGroupRow = -1;     // one scale per row ("channel")
constexpr int32_t kGroupTensor = -2;  // one scale for the matrix

struct Scheme {
  CodeKind code = CodeKind::kInt;
  int32_t bits = 4;            // 2, 3, 4, 8; with float zero points 1; files of GPTQModel also 5, 6, 7
  int32_t group = 128;         // weights that share a scale, or kGroupRow, kGroupTensor
  bool symmetric = true;       // true: the zero point is 2^(bits-1) everywhere and is not stored
  DType scale = DType::kNone;  // F16, BF16 or F32; kNone = what the format stores for this model
  bool float_zero = false;     // zero points are floats (HQQ); then not symmetric
  Grouping grouping = Grouping::kRow;
  int32_t nested = 0;  // scales are themselves 8-bit codes in blocks of so many (double quantization); 0 = they are not
  Activations activations = Activations::kNone;
  DType compute =
      DType::kNone;  // what loaders are told to compute in, where a format says so; kNone = the model's type

  bool operator==(const Scheme&) const = default;
  int32_t max_code() const { return (1 << bits) - 1; }
  int32_t mid_code() const { return 1 << (bits - 1); }
  // Of Grouping::kRow.
  int64_t groups(int64_t cols) const { return group > 0 ? (cols + group - 1) / group : 1; }
  int64_t group_size(int64_t cols) const { return group > 0 ? group : cols; }
  // Of any grouping: how many scales a matrix has. 0 for block codes, which hold their own.
  int64_t scale_count(int64_t rows, int64_t cols) const;
  bool is_block() const { return static_cast<int32_t>(code) >= kFirstBlock; }
  // Integer codes with integer zero points, groups along rows, 16-bit or float32 scales: what GPTQ solves and what the
  // formats of integers exchange.
  bool is_grid() const { return code == CodeKind::kInt && !float_zero && grouping == Grouping::kRow && nested == 0; }
};

// Whether the fields fit each other, for whatever a file may hold: code, bits 1 … 8, group, grouping. kInvalidArgument.
Status check_consistent(const Scheme& scheme);
// What a method may be asked for: integers of 2, 3, 4 or 8 bits (float zero points: also 1) in groups of 16 … 1024, a
// multiple of 8, or row, or tensor; tables in blocks of 32 … 4096, a power of two. The words name what was found.
Status check_scheme(const Scheme& scheme);

// Names (scheme_name.cc). Integers: w<bits>[g<columns>|row|tensor][a|f][a8|a8s]: a = asymmetric, f = float zero points,
// a8 = 8-bit activations per token, a8s = per tensor. "w2g64" "w4g128" "w4g128a" "w4g64f" "w8" "w8row" "w8tensor"
// "w8a8"; "int8" is "w8". Tables: "nf4" "fp4" [b<elements>][-dq], "fp8" [row|g<columns>|tensor|b<side>]
// [-a8|-a8s]. "llm-int8". Blocks by their names in ggml: "q4_0". kInvalidArgument if it is none.
Result<Scheme> scheme_preset(std::string_view name);
// The inverse of scheme_preset, for reports: "w4g128".
std::string scheme_name(const Scheme& scheme);

}  // namespace qz
