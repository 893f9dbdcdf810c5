// What may be stored for one matrix: the code, its width, the group, symmetric or not, the type of the scales.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tensor/dtype.h"

namespace qz {

enum class CodeKind : int32_t { kInt = 0 };  // equals qz_code; later NF4, FP4, FP8, the GGUF block types

constexpr int32_t kGroupRow = -1;     // one scale per row ("channel")
constexpr int32_t kGroupTensor = -2;  // one scale for the matrix

struct Scheme {
  CodeKind code = CodeKind::kInt;
  int32_t bits = 4;            // 2, 3, 4, 8; files of GPTQModel also 5, 6, 7
  int32_t group = 128;         // columns that share a scale: 16 … 1024, or kGroupRow, kGroupTensor
  bool symmetric = true;       // true: the zero point is 2^(bits-1) everywhere and is not stored
  DType scale = DType::kNone;  // F16, BF16 or F32; kNone = what the format stores for this model

  bool operator==(const Scheme&) const = default;
  int32_t max_code() const { return (1 << bits) - 1; }
  int32_t mid_code() const { return 1 << (bits - 1); }
  int64_t groups(int64_t cols) const { return group > 0 ? (cols + group - 1) / group : 1; }
  int64_t group_size(int64_t cols) const { return group > 0 ? group : cols; }
};

// What a method may be asked for: bits 2, 3, 4 or 8; group 16 … 1024 a multiple of 8, or row, or tensor. The words name
// what was found.
Status check_scheme(const Scheme& scheme);
// w<bits>[g<columns>|row|tensor][a]: bits 2, 3, 4, 8; columns that share a scale, one scale per row (the default) or
// per tensor; a = asymmetric. "w2g64" "w3g128" "w4g128" "w4g128a" "w8" "w8row" "w8tensor"; "int8" is "w8".
// kInvalidArgument if it is none.
Result<Scheme> scheme_preset(std::string_view name);
// The inverse of scheme_preset, for reports: "w4g128".
std::string scheme_name(const Scheme& scheme);

}  // namespace qz
